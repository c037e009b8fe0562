"""The machine with time: the same image and the same bits as the functional mode, cycle by cycle."""
