package ring

func counter() uint64

const hasCounter = true
