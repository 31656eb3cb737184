package corelane

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// Every status of the header has a constant, a sentinel and a name here, and there are no others.
func TestEveryStatusOfTheHeaderIsHere(t *testing.T) {
	header, err := os.ReadFile("../include/corelane.h")
	if err != nil {
		t.Skip("the header is only in a working copy")
	}
	block := regexp.MustCompile(`(?s)enum corelane_status.*?\n\};`).Find(header)
	found := regexp.MustCompile(`(?m)^  (CORELANE_[A-Z_]+) = (-?\d+),`).FindAllSubmatch(block, -1)
	if len(found) < 20 {
		t.Fatalf("only %d statuses found in the header", len(found))
	}
	for _, one := range found {
		number, _ := strconv.Atoi(string(one[2]))
		code := Code(number)
		if statuses[code][0] != string(one[1]) {
			t.Errorf("%s = %d is %q here", one[1], number, statuses[code][0])
		}
		if code < 0 && !errors.Is(&Error{Code: code, Message: "text"}, sentinel(code)) {
			t.Errorf("%s has no sentinel", one[1])
		}
		if _, known := sentinels[code]; code < 0 && !known {
			t.Errorf("%s has no sentinel", one[1])
		}
	}
	if len(statuses) != len(found) || len(sentinels) != len(found)-1 {
		t.Errorf("%d statuses in the header, %d here, %d sentinels", len(found), len(statuses), len(sentinels))
	}
}
