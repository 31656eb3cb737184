//go:build corelane_stub || !cgo

package corelane

func openLane(*Router) (laneCalls, *laneMemory, error) { return nil, nil, ErrUnsupported }
