package corelane

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Config has the configuration of a router or a monitor, by key. docs/configuration.md lists the keys. A key that is not
// set has its default. Values are texts, as in a configuration file: Config{"workers": "2", "enable_metrics": "false"}.
type Config map[string]string

// text writes the configuration as the library reads it. Keys are sorted, so that errors name the same line each time.
func (c Config) text() (string, error) {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var text strings.Builder
	for _, key := range keys {
		value := c[key]
		if strings.ContainsAny(key, "=#\n\r") {
			return "", &Error{Code: CodeConfigKey, Message: fmt.Sprintf("no configuration key contains one of = # or a line end: %q", key)}
		}
		if strings.ContainsAny(value, "#\n\r") {
			return "", &Error{Code: CodeConfigValue, Message: fmt.Sprintf("%s: the value %q contains # or a line end", key, value)}
		}
		fmt.Fprintf(&text, "%s=%s\n", key, value)
	}
	return text.String(), nil
}

func readConfig(path string) (string, error) {
	bytes, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("corelane: the configuration: %w", err)
	}
	return string(bytes), nil
}
