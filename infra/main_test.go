package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"soci-index-builder/infra/stack"
)

// Wrong arguments are reported before Node.js is started.
func TestRefused(t *testing.T) {
	folder := t.TempDir()
	// A program that is there and cannot be run.
	if err := os.WriteFile(filepath.Join(folder, "node"), []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		args       []string
		want       error
		text       string
	}{
		{"argument", folder, []string{"x"}, nil, `"x"`},
		{"no Node.js", "/nowhere", nil, errNoNode, ""},
		{"images for the CDK", folder, []string{"-images"}, nil, "-template"},
		{"architecture of the template", folder,
			[]string{"-template", filepath.Join(folder, "t"), "-architecture", "x86"},
			stack.ErrArchitecture, `"x86"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			err := run(tt.args)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %v with %s", err, tt.want, tt.text)
			}
		})
	}
}

// A panic of the constructs is an error; one of ours is not.
func TestFailure(t *testing.T) {
	if err := failure("Property x should be one of y"); err == nil ||
		!strings.Contains(err.Error(), "Property x should be one of y") {
		t.Errorf("error %v", err)
	}
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			t.Error("our own bug does not panic")
		}
	}()
	var nothing []int
	defer func() { failure(recover()) }()
	_ = nothing[len(os.Args)]
}
