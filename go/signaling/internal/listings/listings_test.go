package listings

import (
	"bytes"
	"os"
	"testing"
)

// TestGeneratedFilesAreThoseOfTheListings also writes them, with CORELANE_WRITE_DOCS=1.
func TestGeneratedFilesAreThoseOfTheListings(t *testing.T) {
	all, err := Listings("../../testdata/listings")
	if err != nil {
		t.Fatal(err)
	}
	for file, write := range map[string]func(map[string]string) ([]byte, error){
		"../../specification_listings_test.go": Functions,
		"../declared/declared_test.go":         Declarations,
	} {
		want, err := write(all)
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("CORELANE_WRITE_DOCS") != "" {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the listings give: run CORELANE_WRITE_DOCS=1 go test ./signaling/internal/listings (%v)", file, err)
		}
	}
}
