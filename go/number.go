package corelane

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

//go:generate go run ./internal/schema ../docs/schema.json snapshot.go

// Number is a figure that may be infinite, or have no value: NaN.
type Number float64

// UnmarshalJSON reads a number, "Infinity", "-Infinity" or null.
func (n *Number) UnmarshalJSON(text []byte) error {
	switch {
	case bytes.Equal(text, []byte("null")):
		*n = Number(math.NaN())
	case bytes.Equal(text, []byte(`"Infinity"`)):
		*n = Number(math.Inf(1))
	case bytes.Equal(text, []byte(`"-Infinity"`)):
		*n = Number(math.Inf(-1))
	default:
		var value float64
		if err := json.Unmarshal(text, &value); err != nil {
			return fmt.Errorf("corelane: a number of a report: %w", err)
		}
		*n = Number(value)
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (n Number) MarshalJSON() ([]byte, error) {
	switch value := float64(n); {
	case math.IsNaN(value):
		return []byte("null"), nil
	case math.IsInf(value, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(value, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(value)
	}
}
