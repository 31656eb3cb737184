package stamp

// counter reads CNTVCT_EL0.
func counter() uint64
