package announce

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"soci-index-builder/internal/function/failure"
)

// bus records what it gets, and refuses it with code unless that is empty.
type bus struct {
	code    string
	entries []types.PutEventsRequestEntry
}

func (b *bus) PutEvents(_ context.Context, in *eventbridge.PutEventsInput,
	_ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	b.entries = append(b.entries, in.Entries...)
	if b.code == "" {
		return &eventbridge.PutEventsOutput{}, nil
	}
	return &eventbridge.PutEventsOutput{FailedEntryCount: 1,
		Entries: []types.PutEventsResultEntry{{ErrorCode: aws.String(b.code), ErrorMessage: aws.String("why")}}}, nil
}

func TestRefused(t *testing.T) {
	tests := []struct {
		code string
		want failure.Reason
	}{
		{"ThrottlingException", failure.Throttled},
		{"NotAuthorizedForSourceException", failure.AccessDenied},
		{"NotAuthorizedForDetailTypeException", failure.AccessDenied},
		{"AccessDeniedException", failure.AccessDenied},
		{"KMSAccessDeniedException", failure.AccessDenied},
		{"LimitExceededException", failure.Throttled},
		{"InternalFailure", failure.Unavailable},
		{"SomethingNew", failure.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			b := &Bus{Putter: &bus{code: tt.code}, Name: "my-bus"}
			err := b.Created(t.Context(), Created{})
			if f := failure.Of(err); !errors.Is(err, ErrRefused) || f.Class != failure.Transient ||
				f.Reason != tt.want {
				t.Errorf("Created = %v, %s, %s, want ErrRefused, %s", err, f.Class, f.Reason, tt.want)
			}
			for _, want := range []string{"my-bus", TypeCreated, tt.code, "why"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message does not have %q: %v", want, err)
				}
			}
		})
	}
}

// EventBridge takes no larger event than 256 KiB: that of the largest image
// fits.
func TestCreatedIsBounded(t *testing.T) {
	const manifests = 256 // soci.Limits.MaxManifests
	digest := "sha256:" + strings.Repeat("0", 64)
	c := Created{Repository: strings.Repeat("r", 256), Tag: strings.Repeat("t", 128), Digest: digest,
		Outcome: "indexed",
		SociTag: strings.Repeat("t", 128), SociDigest: digest}
	for range manifests {
		c.IndexDigests = append(c.IndexDigests, digest, digest)
		c.Platforms = append(c.Platforms,
			Platform{Platform: strings.Repeat("p", 64), Digest: digest, IndexV1Digest: digest, IndexV2Digest: digest,
				Layers: Layers{1024, 1024}})
	}
	to := &bus{}
	if err := (&Bus{Putter: to, Name: "b"}).Created(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if n := len(*to.entries[0].Detail); n > 200<<10 {
		t.Errorf("the detail has %d bytes", n)
	}
}

func TestFailedIsBounded(t *testing.T) {
	to := &bus{}
	if err := (&Bus{Putter: to, Name: "b"}).Failed(t.Context(),
		Failed{Message: strings.Repeat("ü", 100_000)}); err != nil {
		t.Fatal(err)
	}
	var f Failed
	if err := json.Unmarshal([]byte(*to.entries[0].Detail), &f); err != nil {
		t.Fatal(err)
	}
	if n := len([]rune(f.Message)); n != maxMessage+len("...") || strings.ContainsRune(f.Message, '\ufffd') {
		t.Errorf("a message of %d characters", n)
	}
}

// Lists are there although they are empty, for those who read them.
func TestCreatedOfNothing(t *testing.T) {
	b := new(bus)
	if err := (&Bus{Putter: b, Name: "bus"}).Created(t.Context(), Created{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"indexDigests":[]`, `"platforms":[]`} {
		if detail := aws.ToString(b.entries[0].Detail); !strings.Contains(detail, want) {
			t.Errorf("%s does not have %s", detail, want)
		}
	}
}
