//go:build corelane_stub || !cgo

package corelane

type taskMemory struct{}

func (b *taskBatch) init(size int) { b.tasks = make([]Task, size) }

func buildServed(string, []string) (*Router, []taskWorker, error) { return nil, nil, noRouter() }
