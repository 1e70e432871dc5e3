package terminal

import "testing"

func TestShellWord(t *testing.T) {
	for s, want := range map[string]string{
		"my-stack": "my-stack", "prod/api:v1.2@sha256": "prod/api:v1.2@sha256", "Key=a/b,c%": "Key=a/b,c%",
		"": "''", "a b": "'a b'", "=ls": "'=ls'", "it's": `'it'\''s'`, "prod/*:*": "'prod/*:*'", "!a": "'!a'",
		"$HOME": "'$HOME'", "a\nb": "'a\nb'", "~": "'~'", "é": "'é'",
	} {
		if got := ShellWord(s); got != want {
			t.Errorf("%q is %s, want %s", s, got, want)
		}
	}
}
