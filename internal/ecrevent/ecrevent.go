// Package ecrevent reads the events that Amazon EventBridge sends when an
// image arrives in Amazon ECR: by a push, by replication, or through a
// pull-through cache. Start with [Parse].
package ecrevent

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"soci-index-builder/internal/filters"
)

// MaxSize bounds an event, in bytes: EventBridge delivers no larger one.
const MaxSize = 256 << 10 // 256 KiB

// The detail-types that are understood.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
const (
	// ImageAction: action-type PUSH of an image.
	ImageAction = "ECR Image Action"

	// ReplicationAction: action-type REPLICATE. ECR sends it where the image
	// arrived, so account and region of the event are those of the copy, and
	// source-account and source-region of its detail those of the original.
	ReplicationAction = "ECR Replication Action"

	// PullThroughCacheAction: sync-status SUCCESS. Its repository-name begins
	// with the prefix of the cache rule, as the repository's name does.
	PullThroughCacheAction = "ECR Pull Through Cache Action"

	// ReferrerAction: something happened to an artifact that refers to an
	// image: a signature, an SBOM, a SOCI index. There is nothing to index in
	// any of them, so neither its action-type nor its result matters.
	ReferrerAction = "ECR Referrer Action"
)

// Event is a valid event. aws-lambda-go's type of the same name knows pushes
// alone, and lacks the two media types of Detail.
type Event struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"` // that has the image
	Time       string   `json:"time"`    // as it came; see Arrival
	Region     string   `json:"region"`  // that has the image
	Resources  []string `json:"resources"`
	Detail     Detail   `json:"detail"`
}

// Detail says what arrived. ImageTag is empty for an image without a tag.
type Detail struct {
	RepositoryName string `json:"repository-name"`
	ImageDigest    string `json:"image-digest"`
	ImageTag       string `json:"image-tag"`

	// All but PullThroughCacheAction have these two.
	Result     string `json:"result,omitempty"`
	ActionType string `json:"action-type,omitempty"`

	// ManifestMediaType is that of the manifest, ArtifactMediaType that of
	// its config. ECR does not promise either.
	ManifestMediaType string `json:"manifest-media-type,omitempty"`
	ArtifactMediaType string `json:"artifact-media-type,omitempty"`

	// Of ReplicationAction.
	SourceAccount string `json:"source-account,omitempty"`
	SourceRegion  string `json:"source-region,omitempty"`

	// Of PullThroughCacheAction.
	SyncStatus          string `json:"sync-status,omitempty"`
	RuleVersion         string `json:"rule-version,omitempty"`
	RepositoryPrefix    string `json:"ecr-repository-prefix,omitempty"`
	UpstreamRegistryURL string `json:"upstream-registry-url,omitempty"`
}

// ErrInvalid: the event is not one that can be worked on, now or later. Every
// error of Parse matches it.
var ErrInvalid = errors.New("invalid ECR event")

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

// BackfillPrefix is what the id of an event begins with that a backfill made.
const BackfillPrefix = "backfill-"

// Arrival returns when the image arrived. It returns false for an event without
// a readable time, which nothing but measurements depend on, and for one that a
// backfill made, whose time is not that of a push.
func (e *Event) Arrival() (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, e.Time)
	return t, err == nil && !strings.HasPrefix(e.ID, BackfillPrefix)
}

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
		fields = append(fields, &FieldError{Field: mistyped.Field, Value: mistyped.Value,
			Allowed: "a JSON " + jsonName(mistyped)})
	case err != nil:
		return nil, invalid("", fmt.Sprintf("%.100s", b), "a JSON object: "+err.Error())
	}
	for _, r := range rulesOf(e.DetailType) {
		if mistyped != nil && (r.field == mistyped.Field || mistyped.Field == "" ||
			strings.HasPrefix(r.field, mistyped.Field+".")) {
			continue // said already
		}
		if value := r.value(&e); !r.allows(value) {
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

// Image is what the event tells of the image, for a decision on it.
func (e *Event) Image() filters.Image {
	return filters.Image{
		Repository: e.Detail.RepositoryName, Tag: e.Detail.ImageTag, ArtifactType: e.Detail.ArtifactMediaType,
		Referrer: e.DetailType == ReferrerAction,
	}
}
