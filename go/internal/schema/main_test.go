package main

import (
	"os"
	"testing"
)

func TestTheTypesAreThoseOfTheSchema(t *testing.T) {
	schema, err := os.ReadFile("../../../docs/schema.json")
	if err != nil {
		t.Skip("the schema is only in a working copy")
	}
	want, err := Generate(schema)
	if err != nil {
		t.Fatal(err)
	}
	found, err := os.ReadFile("../../snapshot.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(found) != string(want) {
		t.Error("snapshot.go is not what docs/schema.json says: run `go generate` in go/")
	}
}
