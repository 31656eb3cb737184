package corelane_test

import (
	"context"
	"errors"
	"testing"
	"time"

	corelane "github.com/corelane/corelane/go"
)

func needLibrary(t testing.TB) {
	t.Helper()
	if corelane.Stub {
		t.Skip("a stub build has no library")
	}
}

func TestRouterStartsDrainsAndStops(t *testing.T) {
	needLibrary(t)
	router, err := corelane.Start(corelane.Config{"workers": "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	text, err := router.Metrics()
	if err != nil || len(text) == 0 {
		t.Fatalf("metrics: %q, %v", text, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := router.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := router.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := router.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := router.Drain(ctx); !errors.Is(err, corelane.ErrStale) {
		t.Fatalf("drain after close: %v", err)
	}
}

func TestWrongConfigurationIsExplained(t *testing.T) {
	needLibrary(t)
	_, err := corelane.Start(corelane.Config{"worker": "1"})
	var detail *corelane.Error
	if !errors.Is(err, corelane.ErrConfigKey) || !errors.As(err, &detail) || detail.Message == "" {
		t.Fatalf("%v", err)
	}
	if _, err := corelane.Start(corelane.Config{"workers": "1\nworkers=2"}); !errors.Is(err, corelane.ErrConfigValue) {
		t.Fatalf("%v", err)
	}
}

func TestStubRouterDoesNotStart(t *testing.T) {
	if !corelane.Stub {
		t.Skip("not a stub build")
	}
	if _, err := corelane.Start(nil); !errors.Is(err, corelane.ErrUnsupported) {
		t.Fatalf("%v", err)
	}
}
