"""Numbers of few bits: ranges and rounding, fake quantisation, observers, quantised layers, packing. Torch alone."""
