// Reads a dashboard with Grafana's own types, strictly: an unknown or missing field of a panel, a query or an option is an error.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func check(file string) error {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var read dashboard.Dashboard
	err = read.UnmarshalJSONStrict(text)
	// Without a fault it returns an empty list, not nil.
	var faults cog.BuildErrors
	if err != nil && !(errors.As(err, &faults) && len(faults) == 0) {
		return err
	}
	if len(read.Panels) == 0 {
		return errors.New("no panels")
	}
	return read.Validate()
}

func main() {
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
