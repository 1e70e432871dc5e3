// Package announce sends events to an Amazon EventBridge bus when the SOCI
// index of an image is ready, or will never be. The events are described in
// docs/events.md. Start with [Bus].
package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"soci-index-builder/internal/awsconfig/awscode"
	"soci-index-builder/internal/function/failure"
	"soci-index-builder/internal/function/lambdafn"
)

// Source of every event.
const Source = "soci-index-builder"

// The detail-types.
const (
	TypeCreated = "SOCI Index Created"
	TypeFailed  = "SOCI Index Failed"
)

// Created is the detail of TypeCreated. Optional members are empty where the
// image has none.
type Created struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"` // of the event; none for an untagged image
	Digest     string `json:"imageDigest"`
	Outcome    string `json:"outcome"` // "indexed" or "no-layer-to-index"

	// SociTag names the SOCI-enabled image, whose digest is SociDigest. It is
	// there also when the image has no layer to index.
	SociTag    string `json:"sociTag,omitempty"`
	SociDigest string `json:"sociDigest,omitempty"`

	IndexDigests []string   `json:"indexDigests"` // of all SOCI indexes, v1 and v2
	Platforms    []Platform `json:"platforms"`
	Layers       Layers     `json:"layers"` // of all platforms, each layer once
}

// Platform is one image manifest of the image.
type Platform struct {
	Platform      string `json:"platform"` // "linux/arm64"
	Digest        string `json:"manifestDigest"`
	IndexV1Digest string `json:"indexV1Digest,omitempty"`
	IndexV2Digest string `json:"indexV2Digest,omitempty"`
	Layers        Layers `json:"layers"`
}

// Layers counts layers.
type Layers struct {
	Indexed int `json:"indexed"`
	Skipped int `json:"skipped"`
}

// Failed is the detail of TypeFailed.
type Failed struct {
	Repository string         `json:"repository"`
	Tag        string         `json:"tag,omitempty"`
	Digest     string         `json:"imageDigest"`
	Reason     failure.Reason `json:"reason"`
	Message    string         `json:"message"`             // for people
	RequestID  string         `json:"requestId,omitempty"` // of the invocation, as in the log
}

// maxMessage bounds Failed.Message, in characters.
const maxMessage = 2000

// Putter puts events. AWS's client is one.
type Putter interface {
	PutEvents(ctx context.Context, in *eventbridge.PutEventsInput,
		opts ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

// Bus is an event bus, by name or ARN. All fields are required; it may be used
// by several goroutines at once.
type Bus struct {
	Putter Putter
	Name   string
}

// Open returns the bus of that name or ARN, nil if it is empty.
func Open(cfg aws.Config, name string) *Bus {
	if name == "" {
		return nil
	}
	return &Bus{Putter: eventbridge.NewFromConfig(cfg), Name: name}
}

// Created announces an index. The same index may be announced again.
func (b *Bus) Created(ctx context.Context, c Created) error {
	if c.IndexDigests == nil {
		c.IndexDigests = []string{}
	}
	if c.Platforms == nil {
		c.Platforms = []Platform{}
	}
	return b.put(ctx, TypeCreated, c)
}

// Failed announces that an image has no index, and that no second attempt
// helps.
func (b *Bus) Failed(ctx context.Context, f Failed) error {
	if runes := []rune(f.Message); len(runes) > maxMessage {
		f.Message = string(runes[:maxMessage]) + "..."
	}
	return b.put(ctx, TypeFailed, f)
}

// maxWait bounds how long an announcement may take, all attempts included.
const maxWait = 30 * time.Second

func (b *Bus) put(ctx context.Context, detailType string, detail any) error {
	body, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("encoding event %q: %w", detailType, err)
	}
	ctx, cancel := lambdafn.LastMoments(ctx, maxWait)
	defer cancel()
	out, err := b.Putter.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		EventBusName: aws.String(b.Name),
		Source:       aws.String(Source),
		DetailType:   aws.String(detailType),
		Detail:       aws.String(string(body)),
	}}})
	if err != nil {
		return fmt.Errorf("announcing %q on event bus %s: %w", detailType, b.Name, err)
	}
	// The call as a whole succeeds also when the bus does not take the event.
	if out.FailedEntryCount == 0 {
		return nil
	}
	var code, message string
	for _, entry := range out.Entries {
		if entry.ErrorCode != nil {
			code, message = aws.ToString(entry.ErrorCode), aws.ToString(entry.ErrorMessage)
		}
	}
	return refused(code, fmt.Errorf("announcing %q on event bus %s: %w: %s: %s", detailType, b.Name, ErrRefused, code,
		message))
}

// ErrRefused: EventBridge answered, but did not take the event.
var ErrRefused = errors.New("the event was not taken")

func refused(code string, err error) error {
	reason := failure.Unavailable
	switch {
	case awscode.IsThrottle(code):
		reason = failure.Throttled
	case awscode.IsDenied(code), code == "KMSAccessDeniedException": // the bus has a key
		reason = failure.AccessDenied
	}
	return &failure.Error{Class: failure.Transient, Reason: reason, Err: err}
}
