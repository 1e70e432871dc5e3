package ours

import (
	"errors"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	if err := Check("the stack s", map[string]string{"ManagedStackSource": "SociIndexBuilder", "a": "b"}); err != nil {
		t.Error(err)
	}
	for text, tags := range map[string]map[string]string{
		"lacks the tag": nil,
		"lacks the tag ManagedStackSource=SociIndexBuilder": {"managedstacksource": "SociIndexBuilder"},
		`is "AwsSamCli"`: {"ManagedStackSource": "AwsSamCli"},
	} {
		err := Check("the stack s", tags)
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), text) ||
			!strings.HasPrefix(err.Error(), "the stack s ") {
			t.Errorf("%v: the error is %v, want %s", tags, err, text)
		}
	}
}
