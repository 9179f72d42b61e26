"""The compiler: a routed model goes in, a bundle comes out (needs torch and onnx)."""
