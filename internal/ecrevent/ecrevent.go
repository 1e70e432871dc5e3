// Package ecrevent reads the event that Amazon EventBridge sends when an image
// is pushed to Amazon ECR, detail-type "ECR Image Action". Start with [Parse].
package ecrevent

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"soci-index-builder/pkg/soci"
)

// MaxSize bounds an event, in bytes: EventBridge delivers no larger one.
const MaxSize = 256 << 10 // 256 KiB

// Event is a valid push event. aws-lambda-go's type of the same name lacks the
// two media types of Detail.
type Event struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"` // as it came; nothing here depends on it
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
	Detail     Detail   `json:"detail"`
}

// Detail says what was pushed. ImageTag is empty for a push without a tag.
type Detail struct {
	Result         string `json:"result"`
	RepositoryName string `json:"repository-name"`
	ImageDigest    string `json:"image-digest"`
	ActionType     string `json:"action-type"`
	ImageTag       string `json:"image-tag"`

	// ManifestMediaType is that of the manifest, ArtifactMediaType that of
	// its config. ECR does not promise either.
	ManifestMediaType string `json:"manifest-media-type,omitempty"`
	ArtifactMediaType string `json:"artifact-media-type,omitempty"`
}

// ErrInvalid: the event is not one that can be worked on, now or later. Every
// error of Parse matches it.
var ErrInvalid = errors.New("invalid ECR push event")

// InvalidError lists everything that is wrong with an event.
type InvalidError struct {
	Fields []*FieldError
}

func (e *InvalidError) Error() string {
	texts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		texts[i] = f.Error()
	}
	return ErrInvalid.Error() + ": " + strings.Join(texts, "; ")
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// FieldError is one thing that is wrong with an event.
type FieldError struct {
	Field   string // "detail.image-digest"; empty for the event as a whole
	Value   string // as it came, or what it is instead of a string
	Allowed string // what it must be
}

func (e *FieldError) Error() string {
	field := e.Field
	if field == "" {
		field = "the event"
	}
	// Values come from outside: quoted, and cut to 100 characters.
	return fmt.Sprintf("%s is %.100q, allowed is %s", field, e.Value, e.Allowed)
}

// A rule says what one field must be. Every pattern is anchored.
type rule struct {
	field   string
	value   func(*Event) string
	pattern *regexp.Regexp
	allowed string
}

var rules = []rule{
	{"source", func(e *Event) string { return e.Source }, regexp.MustCompile(`^aws\.ecr$`), `"aws.ecr"`},
	{"detail-type", func(e *Event) string { return e.DetailType }, regexp.MustCompile(`^ECR Image Action$`), `"ECR Image Action"`},
	{"account", func(e *Event) string { return e.Account }, regexp.MustCompile(`^[0-9]{12}$`), "12 digits"},
	{"region", func(e *Event) string { return e.Region }, regexp.MustCompile(`^[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}$`), "the name of a region, such as eu-west-1"},
	{"detail.action-type", func(e *Event) string { return e.Detail.ActionType }, regexp.MustCompile(`^PUSH$`), `"PUSH"`},
	{"detail.result", func(e *Event) string { return e.Detail.Result }, regexp.MustCompile(`^SUCCESS$`), `"SUCCESS"`},
	{"detail.repository-name", func(e *Event) string { return e.Detail.RepositoryName }, repositoryName, "2 to 256 of a-z and 0-9, separated by one of / . _ __ or by hyphens"},
	{"detail.image-digest", func(e *Event) string { return e.Detail.ImageDigest }, regexp.MustCompile(`^sha256:[0-9a-f]{64}$`), "sha256: and 64 of 0-9 and a-f"},
	{"detail.image-tag", func(e *Event) string { return e.Detail.ImageTag }, regexp.MustCompile(`^(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$`), "nothing, or 1 to 128 of A-Z, a-z, 0-9, _, and, but not at its beginning, . and -"},
}

var repositoryName = regexp.MustCompile(`^[a-z0-9]+(?:(?:[./]|__?|-+)[a-z0-9]+)*$`)

// Parse decodes an event and checks it as a whole. Its error is an
// *InvalidError that lists all that is wrong.
func Parse(b []byte) (*Event, error) {
	if len(b) > MaxSize {
		return nil, invalid("", fmt.Sprintf("%d bytes of JSON", len(b)), fmt.Sprintf("at most %d bytes", MaxSize))
	}
	var (
		e        Event
		mistyped *json.UnmarshalTypeError
		fields   []*FieldError
	)
	switch err := json.Unmarshal(b, &e); {
	case errors.As(err, &mistyped):
		// Decoding went on behind the field, so the others can be judged too.
		fields = append(fields, &FieldError{Field: mistyped.Field, Value: mistyped.Value, Allowed: "a JSON " + jsonName(mistyped)})
	case err != nil:
		return nil, invalid("", fmt.Sprintf("%.100s", b), "a JSON object: "+err.Error())
	}
	for _, r := range rules {
		if mistyped != nil && (r.field == mistyped.Field || mistyped.Field == "" || strings.HasPrefix(r.field, mistyped.Field+".")) {
			continue // said already
		}
		value := r.value(&e)
		long := r.pattern == repositoryName && (len(value) < 2 || len(value) > 256)
		if long || !r.pattern.MatchString(value) {
			fields = append(fields, &FieldError{Field: r.field, Value: value, Allowed: r.allowed})
		}
	}
	if len(fields) > 0 {
		return nil, &InvalidError{Fields: fields}
	}
	return &e, nil
}

func invalid(field, value, allowed string) error {
	return &InvalidError{Fields: []*FieldError{{Field: field, Value: value, Allowed: allowed}}}
}

// jsonName is the JSON type that the field should have had.
func jsonName(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind() {
	case reflect.Slice:
		return "array"
	case reflect.Struct:
		return "object"
	}
	return "string"
}

// Own reports whether the event tells of an artifact of this project, or of
// another SOCI builder, that must not be indexed in turn, and why. It needs no
// registry: the artifact's media type tells a SOCI index, and tagSuffix the
// tag of an image that was made from another one. An empty tagSuffix matches
// no tag.
func (e *Event) Own(tagSuffix string) (why string, own bool) {
	switch mediaType := strings.ToLower(e.Detail.ArtifactMediaType); mediaType {
	case soci.ArtifactTypeV1, soci.ArtifactTypeV2:
		return "artifact media type " + mediaType, true
	}
	// The suffix alone is nobody's <tag><suffix>.
	if tag, ok := strings.CutSuffix(e.Detail.ImageTag, tagSuffix); ok && tagSuffix != "" && tag != "" {
		return "tag suffix " + tagSuffix, true
	}
	return "", false
}
