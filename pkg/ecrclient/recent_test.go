package ecrclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"soci-index-builder/pkg/ecrclient"
	"soci-index-builder/pkg/soci"
)

// fakeECR is fakeAWS with DescribeImages, which returns details in their order.
type fakeECR struct {
	*fakeAWS
	details  []map[string]any
	answer   func(page int, w http.ResponseWriter, r *http.Request) bool // in place of a page
	pages    int
	requests []map[string]any
	log      bytes.Buffer
}

func newFakeECR(t *testing.T) *fakeECR {
	f := &fakeECR{fakeAWS: newFakeAWS(t)}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeImages") {
			f.describeImages(w, r)
			return
		}
		f.getAuthorizationToken(w, r)
	}))
	t.Cleanup(func() { api.CloseClientConnections(); api.Close() })
	t.Setenv("AWS_ENDPOINT_URL_ECR", api.URL)
	return f
}

func (f *fakeECR) describeImages(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	b, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(b, &in)
	// The SDK closes its request once it has the answer. If net/http is still
	// looking for the request's end then, it closes the connection: the answer
	// must not be quicker than that.
	time.Sleep(3 * time.Millisecond)
	f.pages++
	f.requests = append(f.requests, in)
	if f.answer != nil && f.answer(f.pages, w, r) {
		return
	}
	token, _ := in["nextToken"].(string)
	start, _ := strconv.Atoi(token)
	most, _ := in["maxResults"].(float64)
	end := min(start+int(most), len(f.details))
	out := map[string]any{"imageDetails": f.details[start:end]}
	if end < len(f.details) {
		out["nextToken"] = strconv.Itoa(end)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out)
}

func (f *fakeECR) describe(d digest.Digest, artifactType string, minute int) {
	f.details = append(f.details, map[string]any{
		"imageDigest": d, "artifactMediaType": artifactType, "imageManifestMediaType": ocispec.MediaTypeImageManifest,
		"imagePushedAt": float64(1_767_000_000 + 60*minute), "imageSizeInBytes": 123_456,
	})
}

func (f *fakeECR) catalog(t *testing.T, o ecrclient.CatalogOptions) *ecrclient.Catalog {
	return f.open(t, ecrHost, ecrclient.WithOwnTokens(),
		ecrclient.WithLogger(slog.New(slog.NewTextHandler(&f.log, nil)))).Catalog(o)
}

// crowd adds n images in no order, a few of which are SOCI indexes; it returns
// these, the newest first.
func (f *fakeECR) crowd(t *testing.T, n, indexes int) []digest.Digest {
	var newest []digest.Digest
	for i := range n {
		if i < n-indexes {
			f.describe(digest.FromString(fmt.Sprint(i)), "application/vnd.oci.image.config.v1+json", i)
			continue
		}
		d := pushV2(t, f.Server, i).Digest
		newest = slices.Insert(newest, 0, d)
		f.describe(d, []string{soci.ArtifactTypeV1, soci.ArtifactTypeV2}[i%2], i)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { f.details[i], f.details[j] = f.details[j], f.details[i] })
	return newest
}

func TestCatalogRecent(t *testing.T) {
	f := newFakeECR(t)
	want := f.crowd(t, 5000, 12)
	found, err := collect(t.Context(), f.catalog(t, ofV2), 100)
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("found %v, %v; want %v", found, err, want)
	}
	if f.pages != 5 || strings.Contains(f.log.String(), "not all images") {
		t.Errorf("%d pages, log: %s", f.pages, &f.log)
	}
	filter, _ := json.Marshal(f.requests[0]["filter"])
	if in := f.requests[0]; in["registryId"] != account || in["repositoryName"] != repository ||
		string(filter) != `{"tagStatus":"UNTAGGED"}` {
		t.Errorf("asked for %v", in)
	}
	if f.regions[0] != "eu-central-1" {
		t.Errorf("signed for %v", f.regions)
	}

	t.Run("no further than wanted", func(t *testing.T) {
		f.Clear()
		found, err := collect(t.Context(), f.catalog(t, ecrclient.CatalogOptions{}), 2)
		if err != nil || !slices.Equal(found, want[:2]) || f.Count("", "") != 2 {
			t.Errorf("found %v, %v, after %d requests", found, err, f.Count("", ""))
		}
	})
	t.Run("not at all when all is found before", func(t *testing.T) {
		index := pushV2(t, f.Server, 9_999)
		f.PushIndex(t, repository, "v2-soci", false, index)
		pages := f.pages
		found, err := collect(t.Context(), f.catalog(t, ofV2), 1)
		if err != nil || !slices.Equal(found, digests(index)) || f.pages != pages {
			t.Errorf("found %v, %v, %d more pages", found, err, f.pages-pages)
		}
	})
	t.Run("bound of pages", func(t *testing.T) {
		f.pages = 0
		found, err := collect(t.Context(), f.catalog(t, ecrclient.CatalogOptions{MaxPages: 3}), 100)
		if err != nil || f.pages != 3 {
			t.Errorf("%v after %d pages, want 3", err, f.pages)
		}
		if len(found) == 0 || len(found) == len(want) {
			t.Errorf("found %d of %d, want some", len(found), len(want))
		}
		if !slices.IsSortedFunc(found,
			func(a, b digest.Digest) int { return slices.Index(want, a) - slices.Index(want, b) }) {
			t.Errorf("not the newest first: %v", found)
		}
		if !strings.Contains(f.log.String(), "listed=3000") {
			t.Errorf("log: %s", &f.log)
		}
	})
	t.Run("deleted meanwhile", func(t *testing.T) {
		f.describe(digest.FromString("gone"), soci.ArtifactTypeV1, 10_000)
		defer func() { f.details = f.details[:len(f.details)-1] }()
		found, err := collect(t.Context(), f.catalog(t, ecrclient.CatalogOptions{}), 1)
		if err != nil || !slices.Equal(found, want[:1]) {
			t.Errorf("found %v, %v", found, err)
		}
	})
	t.Run("an endpoint in ECR's place", func(t *testing.T) {
		pages, calls := f.pages, f.count()
		r := f.open(t, ecrHost, ecrclient.WithEndpoint(f.Registry.URL()))
		found, err := collect(t.Context(), r.Catalog(ecrclient.CatalogOptions{TagSuffix: "-soci"}), 100)
		if err != nil || len(found) != 1 {
			t.Fatalf("found %v, %v, with %d calls of AWS", found, err, f.pages-pages+f.count()-calls)
		}
		if f.pages != pages || f.count() != calls {
			t.Errorf("found %v, %v, with %d calls of AWS", found, err, f.pages-pages+f.count()-calls)
		}
	})
}

// Entries that were listed before the list failed are used.
func TestCatalogRecentFails(t *testing.T) {
	refuse := func(status int, code string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"__type":%q,"message":"told by AWS"}`, code)
		}
	}
	for _, row := range []struct {
		name   string
		page   int // from which on
		answer func(http.ResponseWriter, *http.Request)
		class  error
		text   string // in the error, or, when there is none, in the log
	}{
		{"denied", 1, refuse(400, "AccessDeniedException"), ecrclient.ErrDenied, "ecr:DescribeImages"},
		{"throttled", 1, refuse(400, "ThrottlingException"), ecrclient.ErrThrottled,
			"list images " + ecrHost + "/" + repository},
		{"throttled later", 2, refuse(400, "ThrottlingException"), ecrclient.ErrThrottled, "told by AWS"},
		{"server fault", 2, refuse(500, "ServerException"), ecrclient.ErrUnavailable, "told by AWS"},
		{"late", 1, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil, "listed=0"},
		{"late later", 2, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil, "listed=1000"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFakeECR(t)
			f.crowd(t, 3000, 60)
			listed := 0
			for _, d := range f.details[:1000*(row.page-1)] {
				if d["artifactMediaType"] != "application/vnd.oci.image.config.v1+json" {
					listed++
				}
			}
			f.answer = func(page int, w http.ResponseWriter, r *http.Request) bool {
				if page < row.page {
					return false
				}
				row.answer(w, r)
				return true
			}
			o := ecrclient.CatalogOptions{}
			switch {
			case row.class == nil && row.page == 1:
				o.ListTimeout = 50 * time.Millisecond
			case row.class == nil:
				o.ListTimeout = time.Second // the first page must come in time
			}
			found, err := collect(t.Context(), f.catalog(t, o), 100)
			if !errors.Is(err, row.class) || len(found) != listed || row.page > 1 && listed == 0 {
				t.Errorf("found %d, want %d; %v", len(found), listed, err)
			}
			text := f.log.String()
			if err != nil {
				text = err.Error()
			}
			if !strings.Contains(text, row.text) {
				t.Errorf("%q does not say %q", text, row.text)
			}
		})
	}
}
