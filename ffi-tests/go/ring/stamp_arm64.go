package ring

func counter() uint64
