"""Engines at fp16, bf16 and int8, and which layers stay in float."""
