"""Speed and memory as ratios against hand-written PyTorch, measured in one run: `python -m benchmarks`."""
