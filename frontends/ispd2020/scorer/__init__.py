"""The independent judge of `.paint` files. Shares no code with the placer, its kernels, or the writer of such files."""
