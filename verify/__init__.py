"""Every claim as a check that can fail: at a stated false-alarm rate, with negative controls and measured power."""
