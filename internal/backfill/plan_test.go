package backfill

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/internal/inventory"
	"soci-index-builder/pkg/soci"
)

var newest = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// record is an image that was pushed days before newest, with layers of so
// many bytes; layers of the same size are the same.
func record(name string, days int, state inventory.State, layers ...int64) inventory.Record {
	repository, tag, _ := strings.Cut(name, ":")
	r := inventory.Record{Image: inventory.Image{Repository: repository,
		Digest:   digest.FromString(fmt.Sprint(repository, days)),
		PushedAt: newest.AddDate(0, 0, -days)}, Tag: tag, State: state}
	m := soci.ManifestStatus{}
	for _, size := range layers {
		m.Layers = append(m.Layers,
			soci.LayerStatus{Layer: ocispec.Descriptor{Digest: digest.FromString(fmt.Sprint(size)), Size: size}})
	}
	m.Layers = append(m.Layers,
		soci.LayerStatus{Layer: ocispec.Descriptor{Digest: "sha256:small", Size: 1}, Reason: soci.SkipTooSmall})
	// Another manifest that is not one of an image.
	r.Manifests = []soci.ManifestStatus{m, {Reason: "attestation", Layers: m.Layers}}
	return r
}

func survey(records ...inventory.Record) iter.Seq2[inventory.Record, error] {
	return func(yield func(inventory.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func itemsOf(p *Plan) []string {
	var all []string
	for _, i := range p.Items {
		all = append(all, fmt.Sprintf("%s %d", i.Name(), i.Bytes))
	}
	return all
}

func TestPlan(t *testing.T) {
	records := []inventory.Record{
		record("a/app:v1", 9, inventory.StateMissing, 100, 200),
		record("a/app:v2", 3, inventory.StateIncomplete, 100, 300),
		record("a/app:latest", 3, inventory.StateMissing, 100, 300),
		record("a/app:ok", 1, inventory.StateIndexed, 100),
		record("a/app:bad", 1, inventory.StateFails, 100),
		record("a/app:small", 1, inventory.StateNothing),
		record("b/app:v1", 3, inventory.StateStale, 100),
		record("b/app:v0", 0, inventory.StateOtherTool, 50),
		record("b/app", 5, inventory.StateMissing, 100),
	}
	untagged := "b/app@" + digest.FromString("b/app5").String() + " 0"
	tests := []struct {
		name    string
		version soci.IndexVersion
		limit   int
		want    []string
		omitted int
	}{
		// The layer of 100 bytes counts once in each repository; a second tag
		// comes last, and reads nothing.
		{"all", soci.Both, 0, []string{"b/app:v0 50", "a/app:latest 400", "b/app:v1 100", untagged, "a/app:v1 200",
			"a/app:v2 0"}, 0},
		{"V1 belongs to the image, not to the tag", soci.V1, 0,
			[]string{"b/app:v0 50", "a/app:latest 400", "b/app:v1 100", untagged, "a/app:v1 200"}, 0},
		{"limited", soci.V2, 2, []string{"b/app:v0 50", "a/app:latest 400"}, 4},
		{"limit not reached", soci.V2,
			6, []string{"b/app:v0 50", "a/app:latest 400", "b/app:v1 100", untagged, "a/app:v1 200", "a/app:v2 0"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPlan(t.Context(), survey(records...), tt.version, tt.limit)
			if err != nil {
				t.Fatal(err)
			}
			if got := itemsOf(p); !slices.Equal(got, tt.want) || p.Omitted != tt.omitted {
				t.Errorf("items %q, %d omitted, want %q, %d", got, p.Omitted, tt.want, tt.omitted)
			}
			if p.States[inventory.StateMissing] != 3 || p.States[inventory.StateIndexed] != 1 ||
				p.States[inventory.StateFails] != 1 {
				t.Errorf("states %v", p.States)
			}
			if p.Items[0].Manifests != 1 {
				t.Errorf("%d manifests, want 1", p.Items[0].Manifests)
			}
		})
	}
}

func TestPlanErrors(t *testing.T) {
	denied, over := errors.New("denied"), errors.New("over")
	with := func(errs ...inventory.Record) iter.Seq2[inventory.Record, error] {
		return func(yield func(inventory.Record, error) bool) {
			_ = yield(record("a:1", 0, inventory.StateMissing, 1), nil) &&
				yield(inventory.Record{Image: inventory.Image{Repository: "b"}}, denied) &&
				yield(record("c:1", 0, inventory.StateMissing, 1), nil) && len(errs) > 0 && yield(errs[0], over)
		}
	}
	p, err := NewPlan(t.Context(), with(), soci.Both, 0)
	if err != nil || len(p.Items) != 2 || len(p.Errors) != 1 {
		t.Fatalf("NewPlan = %+v, %v, want two items, and that b could not be read", p, err)
	}
	if p.Errors[0] != denied {
		t.Errorf("NewPlan = %+v, %v, want two items, and that b could not be read", p, err)
	}
	if _, err := NewPlan(t.Context(), with(inventory.Record{}), soci.Both, 0); err != over {
		t.Errorf("NewPlan = %v, want what ended the survey", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewPlan(ctx, with(), soci.Both, 0); err == nil {
		t.Error("an interrupted survey gives a plan")
	}
}

// The figures are those of docs/performance.md.
func TestCostIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(
		`(?m)^\| ([\d,]+) \| [\d.]+ \| [\d,]+ \| \d+ \| network \| [\d.]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$`).FindAllSubmatch(b, -1)
	if len(rows) < 3 || !strings.Contains(string(b), " 145 MB/s") {
		t.Fatalf("docs/performance.md has %d settings limited by the network; does it still say that a core reads "+
			"145 MB/s?", len(rows))
	}
	number := func(b []byte) float64 {
		f, err := strconv.ParseFloat(strings.ReplaceAll(string(b), ",", ""), 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, row := range rows {
		memory := int(number(row[1]))
		if Core*float64(memory)/MemoryPerCPU < Network {
			continue // there the table has the speed without TLS
		}
		// 1,000 GB in one image, of which the two seconds are nothing.
		p := &Plan{Items: []Item{{Bytes: 1e12}}}
		c := p.Cost(memory)
		for _, f := range []struct {
			what      string
			got, want float64
			rounded   float64
		}{
			{"GB-s per GB", c.GBSeconds / 1000, number(row[2]), 0.05},
			{"$ for x86-64", c.DollarsX86, number(row[3]), 0.006},
			{"$ for arm64", c.DollarsARM, number(row[4]), 0.006},
		} {
			if f.got < f.want-f.rounded || f.got > f.want+f.rounded {
				t.Errorf("%d MB: %s is %.4f, docs/performance.md has %.2f", memory, f.what, f.got, f.want)
			}
		}
	}
}

func TestCost(t *testing.T) {
	p := &Plan{Items: []Item{{Bytes: 75 << 20}, {}}}
	c := p.Cost(2048)
	if c.Images != 2 || c.Seconds != 5 || c.GBSeconds != 10 {
		t.Errorf("cost %+v, want 1 s for the bytes, 2 s for each image, twice that in GB-s", c)
	}
	want := 10*PriceARM + 4*PriceRequest
	if diff := c.DollarsARM - want; diff > 1e-12 || diff < -1e-12 {
		t.Errorf("%g dollars, want %g", c.DollarsARM, want)
	}
}

// An image that is handed over costs a generator's two seconds, those of each
// step, the same reading, and transitions.
func TestCostOfHandedOver(t *testing.T) {
	p := &Plan{Items: []Item{{Bytes: 75 << 20, Layers: 1}, {Bytes: 150 << 20, Layers: 3}}}
	c := p.CostOf(Builder{Memory: 2048, StepsMemory: 3072, FanOutFrom: 75 << 20})
	want := Cost{Images: 2, HandedOver: 1, Seconds: 3 + 2, Steps: 5, StepSeconds: 10 + 2, Transitions: 11,
		GBSeconds: 2*5 + 3*12}
	want.DollarsARM, want.DollarsX86 = c.DollarsARM, c.DollarsX86
	if c != want {
		t.Errorf("cost %+v, want %+v", c, want)
	}
	dollars := 46*PriceARM + 9*PriceRequest + 11*PriceTransition
	if diff := c.DollarsARM - dollars; diff > 1e-12 || diff < -1e-12 {
		t.Errorf("%g dollars, want %g", c.DollarsARM, dollars)
	}
	if c := p.CostOf(Builder{Memory: 2048}); c != p.Cost(2048) || c.HandedOver != 0 || c.Transitions != 0 {
		t.Errorf("without a state machine: %+v", c)
	}
}

// An image is also handed over that the generator has not the time or the memory for.
func TestCostHandsOver(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		name string
		b    Builder
		i    Item
		want int
	}{
		{"small", Builder{1769, 100 * gib, 3008}, Item{Bytes: 20 * gib, largest: 20 * gib}, 0},
		{"size", Builder{1769, 100 * gib, 3008}, Item{Bytes: 100*gib + 1, largest: gib}, 1},
		{"time", Builder{1769, 100 * gib, 3008}, Item{Bytes: 70 * gib, largest: gib}, 1},
		{"memory", Builder{1769, 100 * gib, 3008}, Item{Bytes: 40 * gib, largest: 40 * gib}, 1},
		{"memory of many layers", Builder{1769, 100 * gib, 3008}, Item{Bytes: 40 * gib, largest: 10 * gib}, 0},
		{"no more memory there", Builder{1769, 100 * gib, 1769}, Item{Bytes: 40 * gib, largest: 40 * gib}, 0},
		{"never", Builder{1769, 0, 3008}, Item{Bytes: 200 * gib, largest: 40 * gib}, 0},
	} {
		p := &Plan{Items: []Item{tt.i}}
		if got := p.CostOf(tt.b).HandedOver; got != tt.want {
			t.Errorf("%s: %d handed over, want %d", tt.name, got, tt.want)
		}
	}
	i := Item{Repository: "app", layers: []layer{{"sha256:a", 3}, {"sha256:b", 7}, {"sha256:c", 5}}}
	p := &Plan{Items: []Item{i, {Repository: "app", layers: []layer{{"sha256:b", 7}, {"sha256:d", 4}}}}}
	if p.count(); p.Items[0].largest != 7 || p.Items[1].largest != 4 {
		t.Errorf("the largest layers have %d and %d bytes, want 7 and 4", p.Items[0].largest, p.Items[1].largest)
	}
}

func TestRate(t *testing.T) {
	item := &Item{Tag: "v1", Manifests: 2, Bytes: 750 << 20} // 12 s
	tests := []struct {
		name string
		rate Rate
		item *Item
		want time.Duration
	}{
		{"V1: a manifest for each platform", Rate{Version: soci.V1}, item, 400 * time.Millisecond},
		{"V2: two, and the image index", Rate{Version: soci.V2}, item, time.Second},
		{"Both", Rate{Version: soci.Both}, item, 1400 * time.Millisecond},
		{"Both, without a tag", Rate{Version: soci.Both}, &Item{Manifests: 2}, time.Second},
		{"nothing known of the image", Rate{Version: soci.V1}, &Item{}, 200 * time.Millisecond},
		{"half of the concurrency", Rate{Version: soci.Both, Memory: 1769, Concurrency: 4}, item, 6 * time.Second},
		{"concurrency to spare", Rate{Version: soci.Both, Memory: 1769, Concurrency: 1000}, item,
			1400 * time.Millisecond},
		{"nothing reserved", Rate{Version: soci.Both, Memory: 1769, Concurrency: -1}, item, 1400 * time.Millisecond},
		{"as asked for", Rate{PerSecond: 4, Version: soci.Both, Memory: 1769, Concurrency: 4}, item,
			250 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.rate.Interval(tt.item); got != tt.want {
				t.Errorf("Interval = %v, want %v", got, tt.want)
			}
		})
	}
	if got := (Rate{PerSecond: 2}).Total(make([]Item, 10)); got != 5*time.Second {
		t.Errorf("Total = %v, want 5s", got)
	}
}
