package corelane

import "fmt"

// Version returns the version of the library that the program runs with, such as "0.1.0". In a stub build it is "stub".
func Version() string {
	version := libraryVersion()
	if version == 0 {
		return "stub"
	}
	return fmt.Sprintf("%d.%d.%d", version>>24, version>>16&0xff, version&0xffff)
}
