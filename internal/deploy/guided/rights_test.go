package guided

import (
	"bytes"
	"strings"
	"testing"

	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/embedded"
)

// The policies shown are those that the way of deploying needs, with all
// placeholders filled in.
func TestShowRights(t *testing.T) {
	const host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/"
	for _, tt := range []struct {
		name           string
		s              settings.Settings
		files          string
		shows, without []string
	}{
		{"zip", settings.Settings{Package: embedded.Zip}, "deployer-policy-zip.json",
			[]string{"arn:aws:s3:::soci-index-builder-123456789012-eu-west-1-an/records/*"},
			[]string{"repository/soci", "-Companion"}},
		{"managed bucket by name",
			settings.Settings{Package: embedded.Zip, Bucket: "soci-index-builder-0123456789ab"},
			"deployer-policy-zip.json",
			[]string{"arn:aws:s3:::soci-index-builder-0123456789ab/code/*"}, []string{"-an/"}},
		{"own bucket", settings.Settings{Package: embedded.Zip, Bucket: "mine",
			RoleARN: "arn:aws:iam::123456789012:role/a/b"},
			"deployer-policy-own-bucket.json, deployer-policy-role-arn.json",
			[]string{"arn:aws:s3:::mine/soci-index-builder/*", "arn:aws:iam::123456789012:role/a/b\n"},
			[]string{"-an/"}},
		{"image", settings.Settings{Package: embedded.Image}, "deployer-policy-image.json",
			[]string{"stack/prod-d6e4a9b6-CompanionStack/*", "repository/prodd6e4a9b6/*"}, []string{"s3"}},
		{"own repositories", settings.Settings{Package: embedded.Image, Repositories: map[string]string{
			"FilterFunction": host + "a/f", "GeneratorFunction": host + "a/g", "RepositoryNameFunction": host + "a/r"}},
			"deployer-policy-own-repositories.json",
			[]string{"repository/a/f arn:aws:ecr:eu-west-1:123456789012:repository/a/g arn:"}, []string{"Companion"}},
		{"some of one's own", settings.Settings{Package: embedded.Image,
			Repositories: map[string]string{"FilterFunction": host + "a/f"}},
			"deployer-policy-own-repositories.json, deployer-policy-image.json",
			[]string{"repository/a/f\n", "Companion"}, nil},
		{"the companion's by name", settings.Settings{Package: embedded.Image, Repositories: map[string]string{
			"FilterFunction": host + "prodd6e4a9b6/filterfunction0f8a6661repo"}},
			"deployer-policy-image.json", []string{"repository/prodd6e4a9b6/*"}, []string{"filterfunction"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tt.s.Stack = "prod"
			NewTerminal(strings.NewReader(""), &out).showRights(Account{ID: "123456789012"}.parts(tt.s, "eu-west-1"))
			text := out.String()
			for _, want := range append(tt.shows, "deployer-policy.json, deployer-policy-commands.json, "+tt.files+"\n",
				"  lambda (", "arn:aws:iam::123456789012:role/prod-*") {
				if !strings.Contains(text, want) {
					t.Errorf("%s is not in\n%s", want, text)
				}
			}
			for _, not := range append(tt.without, "${", "ListAllMyBuckets") {
				if strings.Contains(text, not) {
					t.Errorf("%s is in\n%s", not, text)
				}
			}
		})
	}
	var out bytes.Buffer
	NewTerminal(strings.NewReader(""), &out).showRights(
		Account{ID: "123456789012"}.parts(settings.Settings{Package: embedded.Zip, Stack: "prod"}, "me-south-1"))
	if n := strings.Count(out.String(), "everything: these actions"); n != 2 {
		t.Errorf("s3:ListAllMyBuckets is not in\n%s", out.String())
	}
}

// On a terminal that is not as wide, each ARN has a line of its own below what
// it is for. A service's actions on the same ARNs are in one place.
func TestShowRightsNarrow(t *testing.T) {
	var out bytes.Buffer
	at := NewTerminal(strings.NewReader(""), &out)
	at.screen.Width = 80
	at.showRights(Account{ID: "123456789012"}.parts(settings.Settings{Package: embedded.Zip, Stack: "prod"},
		"eu-west-1"))
	for line := range strings.Lines(out.String()) {
		if len(line) > 81 && len(strings.Fields(line)) > 1 {
			t.Errorf("%d characters: %s", len(line)-1, line)
		}
	}
	if n := strings.Count(out.String(), "arn:aws:iam::123456789012:role/prod-*\n"); n != 1 {
		t.Errorf("the roles are named %d times in\n%s", n, &out)
	}
	if !strings.Contains(out.String(), ")\n      arn:aws:iam::123456789012:role/prod-*\n") {
		t.Errorf("the roles have no line of their own in\n%s", &out)
	}
}

// A question is broken at its spaces, too, and its choices stand behind it.
func TestConfirmNarrow(t *testing.T) {
	var out bytes.Buffer
	at := NewTerminal(strings.NewReader("y\n"), &out)
	at.screen.Width = 40
	yes, err := at.Confirm(t.Context(), "IAM roles are changed: FilterRole, GeneratorRole, MachineRole.\nDeploy this?",
		false)
	want := "IAM roles are changed: FilterRole,\n    GeneratorRole, MachineRole.\nDeploy this? [y/N] "
	if !yes || err != nil || out.String() != want {
		t.Errorf("%t, %v, %q, want %q", yes, err, out.String(), want)
	}
}
