package stamp

// counter reads the TSC.
func counter() uint64
