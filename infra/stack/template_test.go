package stack

import (
	"bytes"
	"os"
	"testing"
)

func TestTemplateIsCurrent(t *testing.T) {
	needNode(t)
	committed, err := os.ReadFile(committedTemplate)
	if err != nil {
		t.Fatal(err)
	}
	if fresh := synth(t).text; !bytes.Equal(bytes.TrimSpace(committed), bytes.TrimSpace(fresh)) {
		t.Errorf("%s is not what the stack makes: run make generate", committedTemplate)
	}
}
