"""Makes a small network of a large one: sparsity, layers by density, and what is left learns from what there was.

Source: Morris et al., ST-MFNet Mini (2023), section II; Ding et al., CDFI (CVPR 2021).
"""
