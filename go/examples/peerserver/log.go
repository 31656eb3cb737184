package main

// The log: a handler for slog with one line per event on stderr. A line never blocks who logs it: a goroutine writes
// the lines, and what its queue has no room for is dropped and counted.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
)

const (
	// linesWaiting is how many lines may wait for the writer.
	linesWaiting = 4096
	// lastLines is how long the process waits at its end for the last lines.
	lastLines = 300 * time.Millisecond
	stamp     = "2006-01-02T15:04:05.000000Z"
)

type line struct {
	to    *os.File
	bytes []byte
}

// journal is the queue of lines to the writer.
type journal struct {
	start             sync.Once
	lines             chan line
	accepted, written atomic.Uint64
	// dropped counts lines that nobody gets. Nil before the monitor has started.
	dropped atomic.Pointer[corelane.Counter]
}

var lines = &journal{lines: make(chan line, linesWaiting)}

func (j *journal) run() {
	for line := range j.lines {
		if _, err := line.to.Write(line.bytes); err != nil {
			j.drop()
		}
		j.written.Add(1)
	}
}

func (j *journal) send(to *os.File, bytes []byte) {
	j.accepted.Add(1)
	select {
	case j.lines <- line{to, bytes}:
	default:
		j.accepted.Add(^uint64(0))
		j.drop()
	}
}

func (j *journal) drop() {
	if dropped := j.dropped.Load(); dropped != nil {
		dropped.Inc()
	}
}

// finish waits until all lines are written, for at most a moment.
func (j *journal) finish() {
	for until := time.Now().Add(lastLines); j.written.Load() < j.accepted.Load() && time.Now().Before(until); {
		time.Sleep(2 * time.Millisecond)
	}
}

// say prints a line to stdout.
func say(format string, values ...any) {
	lines.send(os.Stdout, fmt.Appendf(nil, format+"\n", values...))
}

// startLog makes slog write to stderr.
func startLog(level slog.Level, asJSON bool) {
	lines.start.Do(func() { go lines.run() })
	if !asJSON {
		slog.SetDefault(slog.New(textHandler{level: level}))
		return
	}
	rename := func(_ []string, attribute slog.Attr) slog.Attr {
		switch attribute.Key {
		case slog.TimeKey:
			return slog.String("timestamp", attribute.Value.Time().UTC().Format(stamp))
		case slog.MessageKey:
			attribute.Key = "message"
		case slog.LevelKey:
			return slog.String("level", levelName(attribute.Value.Any().(slog.Level)))
		}
		return attribute
	}
	handler := slog.NewJSONHandler(errorLines{}, &slog.HandlerOptions{Level: level, ReplaceAttr: rename})
	slog.SetDefault(slog.New(handler))
}

// errorLines queues what is written to it for stderr, one line at a time.
type errorLines struct{}

func (errorLines) Write(text []byte) (int, error) {
	lines.send(os.Stderr, bytes.Clone(text))
	return len(text), nil
}

var _ io.Writer = errorLines{}

func levelName(level slog.Level) string {
	if level == levelTrace {
		return "TRACE"
	}
	return level.String()
}

// textHandler writes a line as "TIME LEVEL MESSAGE key=value". Texts of clients are quoted.
type textHandler struct {
	level slog.Level
	more  []slog.Attr
}

func (h textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h textHandler) WithAttrs(more []slog.Attr) slog.Handler {
	h.more = append(h.more[:len(h.more):len(h.more)], more...)
	return h
}

func (h textHandler) WithGroup(string) slog.Handler { return h }

func (h textHandler) Handle(_ context.Context, record slog.Record) error {
	text := record.Time.UTC().AppendFormat(make([]byte, 0, 160), stamp)
	text = fmt.Appendf(text, " %5s %s", levelName(record.Level), record.Message)
	add := func(attribute slog.Attr) bool {
		text = append(append(append(text, ' '), attribute.Key...), '=')
		value := attribute.Value.Resolve()
		if value.Kind() == slog.KindString && attribute.Key != "address" {
			text = strconv.AppendQuote(text, value.String())
		} else {
			text = append(text, value.String()...)
		}
		return true
	}
	for _, attribute := range h.more {
		add(attribute)
	}
	record.Attrs(add)
	lines.send(os.Stderr, append(text, '\n'))
	return nil
}
