package generator

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"soci-index-builder/internal/function/announce"
	"soci-index-builder/internal/function/fanout"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// announced returns a bus, and the events that it got so far.
func announced(t *testing.T) (*announce.Bus, func() []string) {
	server := awstest.Start(t)
	var told []string
	server.Handle("events", awstest.JSON(map[string]func([]byte) (any, error){"PutEvents": func(b []byte) (any, error) {
		var in struct {
			Entries []struct{ DetailType, Detail string }
		}
		if err := json.Unmarshal(b, &in); err != nil {
			return nil, err
		}
		for _, e := range in.Entries {
			var detail struct{ Outcome, Reason, SociTag string }
			if err := json.Unmarshal([]byte(e.Detail), &detail); err != nil {
				return nil, err
			}
			told = append(told, e.DetailType+" "+detail.Outcome+detail.Reason+" "+detail.SociTag)
		}
		return map[string]any{"FailedEntryCount": 0, "Entries": []any{map[string]string{"EventId": "1"}}}, nil
	}}))
	return announce.Open(server.Config(), "bus"), func() []string {
		all := told
		told = nil
		return all
	}
}

// An image is announced that can be started with something new, and one that failed
// for good; a failure that another attempt may mend is not.
func TestAnnounced(t *testing.T) {
	small := registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 1, minSize/2)}}}
	large := registrytest.Image{Layers: []registrytest.Layer{{Content: layer(t, 2, 3*minSize)}}}
	corrupt := bytes.Clone(large.Layers[0].Content)
	corrupt[len(corrupt)-8] ^= 1 // the checksum
	for _, tt := range []struct {
		name  string
		image registrytest.Image
		edit  func(*Handler, *registrytest.Server)
		want  []string
		fails bool
	}{
		{"indexed", large, func(*Handler, *registrytest.Server) {}, []string{"SOCI Index Created indexed v1-soci"},
			false},
		{"nothing to index, with a tag", small, func(*Handler, *registrytest.Server) {},
			[]string{"SOCI Index Created no-layer-to-index v1-soci"}, false},
		{"nothing to index", small, func(h *Handler, _ *registrytest.Server) { h.Options.TagUnindexed = false }, nil,
			false},
		{"corrupt", registrytest.Image{Layers: []registrytest.Layer{{Content: corrupt}}},
			func(*Handler, *registrytest.Server) {}, []string{"SOCI Index Failed corrupt "}, true},
		{"throttled", large, func(_ *Handler, s *registrytest.Server) {
			s.Add(registrytest.Rule{Path: "/blobs/",
				Fault: registrytest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS", "")})
		}, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := registrytest.Start(t)
			h := handlerOf(s, ecrclient.WithRetry(ecrclient.RetryPolicy{MaxAttempts: 1}))
			bus, told := announced(t)
			h.Bus = bus
			event := push(s.PushImage(t, repository, "v1", tt.image).Manifest.Digest, "v1")
			tt.edit(h, s)
			_, err := h.Handle(t.Context(), event)
			if got := told(); (err != nil) != tt.fails || !slices.Equal(got, tt.want) {
				t.Errorf("%v, announced %q; want %q", err, got, tt.want)
			}
		})
	}
}

// An image whose plan cannot pass between the states is built by the generator.
func TestPlanThatDoesNotFit(t *testing.T) {
	s := registrytest.Start(t)
	image, _ := multiImage(t, s)
	h := handlerOf(s)
	server, states := awstest.Start(t), new(awstest.States)
	server.Handle("states", states)
	h.FanOut = &FanOut{Starter: fanout.Open(server.Config(), awstest.StateMachineARN), From: 1}
	event := push(image.Digest, "v1")
	event = append(event, bytes.Repeat([]byte(" "), fanout.MaxPayload-len(event))...)
	r, err := h.Handle(t.Context(), event)
	if err != nil || r.Outcome != soci.OutcomeIndexed || len(states.Executions()) != 0 {
		t.Errorf("%v %+v, %d executions", err, r, len(states.Executions()))
	}
}
