package corelane_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// A listing of docs/go.md and docs/go-lane.md that is no whole program is the body of this function.
const listingHead = `package listing

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	corelane "github.com/corelane/corelane/go"
)

var _ = []any{context.Background, errors.Is, slog.Info, http.NewServeMux, time.Now, corelane.Version}

type Connection struct{}

func (*Connection) Write([]byte) {}

var (
	connection *Connection
	message    []byte
	protocol   string
	token, key string
	store      interface {
		Save(ctx context.Context, name string, message []byte) error
	}
)

func listing(ctx context.Context, monitor *corelane.Monitor, recorder *corelane.Recorder, router *corelane.Router) error {
`

func TestTheListingsOfTheGuideCompileAndRun(t *testing.T) {
	var guide []byte
	for _, page := range []string{"../docs/go.md", "../docs/go-lane.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Skip("the guide is only in a working copy")
		}
		guide = append(guide, text...)
	}
	module, _ := filepath.Abs(".")
	folder := t.TempDir()
	mod := fmt.Sprintf("module listing\n\ngo 1.23\n\nrequire github.com/corelane/corelane/go v0.0.0\n\nreplace github.com/corelane/corelane/go => %s\n", module)
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), []byte(mod), 0o600); err != nil {
		t.Fatal(err)
	}
	listings := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(guide, -1)
	if len(listings) < 8 {
		t.Fatalf("%d listings", len(listings))
	}
	var programs []string
	for number, one := range listings {
		text := string(one[1])
		place := filepath.Join(folder, fmt.Sprintf("listing%d", number))
		if strings.HasPrefix(text, "package main\n") {
			programs = append(programs, place)
		} else {
			text = listingHead + "{\n" + text + "}\n"
			if !strings.Contains(text, "\nreturn ") {
				text += "return nil\n"
			}
			text += "}\n\nvar _ = listing\n"
		}
		os.Mkdir(place, 0o700)
		if err := os.WriteFile(filepath.Join(place, "listing.go"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, arguments ...string) []byte {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, name, arguments...)
		command.Dir = folder
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, arguments, err, output)
		}
		return output
	}
	tags := "-tags=" + corelane.BuildTag
	run("go", "vet", tags, "./...")
	for _, place := range programs {
		program := filepath.Join(place, "program")
		run("go", "build", tags, "-o", program, place)
		if corelane.Stub {
			continue // There is no router, so some of them end with an error.
		}
		if output := run(program); len(output) == 0 {
			t.Error("the program prints nothing")
		}
	}
	if len(programs) == 0 {
		t.Error("no listing is a whole program")
	}
}
