package ecrclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"soci-index-builder/internal/documents"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/names/lazyregexp"
)

const (
	maxPages      = 10_000  // of one list
	maxEmptyPages = 100     // in a row
	maxPageLink   = 8 << 10 // bytes of the URL of a page, which is remembered: 8 KiB

	// The bytes of all pages of a list of tags, as long as they can be, and of a list
	// of referrers.
	maxTagListSize      = 128 << 20 // 128 MiB
	maxReferrerListSize = 32 << 20  // 32 MiB
)

// list reads the pages of a list from first on, as the registry links them, of at
// most limit bytes together.
// take decodes one and returns how many entries it has, and how many of them no
// page before had. A list ends where there is no link, and where links form a
// circle: at a page that adds nothing new, or was requested before.
func (r *Repository) list(
	ctx context.Context, first string, limit int, take func(*http.Response, []byte) (entries, fresh int, err error),
) error {
	asked := make(map[string]bool)
	empty, size := 0, 0
	req, err := r.request(ctx, http.MethodGet, first)
	if err != nil {
		return err
	}
	for page := 1; ; page++ {
		if page > maxPages {
			return fmt.Errorf("the list has more than %d pages", maxPages)
		}
		asked[req.URL.String()] = true
		resp, err := r.ask(req)
		if err != nil {
			return err
		}
		b, err := readAtMost(resp, MaxManifestSize)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if size += len(b); size > limit {
			return fmt.Errorf("the list has more than %d bytes", limit)
		}
		entries, fresh, err := take(resp, b)
		switch {
		case err != nil:
			return err
		case entries == 0:
			if empty++; empty > maxEmptyPages {
				return fmt.Errorf("the list has %d pages in a row without an entry", empty)
			}
		case fresh == 0:
			return nil
		default:
			empty = 0
		}
		next, err := nextPage(req.URL, resp.Header)
		if err != nil || next == nil || asked[next.String()] {
			return err
		}
		req = req.Clone(req.Context())
		req.URL = next
	}
}

var linkPattern = lazyregexp.New(`<([^>]*)>([^<]*)`)

// nextPage returns the target of a page's Link header, nil if there is none. It
// is never on another host.
func nextPage(page *url.URL, h http.Header) (*url.URL, error) {
	link := strings.Join(h.Values("Link"), ", ")
	if link == "" {
		return nil, nil
	}
	if len(link) > maxPageLink {
		return nil, fmt.Errorf("the link to the next page has %d bytes, at most %d are allowed", len(link), maxPageLink)
	}
	all := linkPattern.Compiled().FindAllStringSubmatch(link, -1)
	if all == nil {
		return nil, fmt.Errorf("the link to the next page, %q, is malformed", printable(link))
	}
	for _, m := range all {
		if rel := strings.ToLower(m[2]); strings.Contains(rel, "rel=") && !strings.Contains(rel, "next") {
			continue
		}
		next, err := page.Parse(m[1])
		if err != nil {
			return nil, fmt.Errorf("the link to the next page, %q, is malformed", printable(m[1]))
		}
		if !sameOrigin(page, next) {
			return nil, fmt.Errorf("the link to the next page leads to another host, %s", printable(next.Host))
		}
		return next, nil
	}
	return nil, nil
}

// tagPages calls take with the tags of each page that no page before had. Names
// that cannot be tags, which some registries list, can never be asked for: they
// are left out, with one warning in the log.
func (r *Repository) tagPages(ctx context.Context, take func(tags []string) error) error {
	seen := make(map[string]bool)
	var odd []string
	first := fmt.Sprintf("tags/list?n=%d", listPageSize)
	err := r.list(ctx, first, maxTagListSize, func(_ *http.Response, b []byte) (int, int, error) {
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := documents.Unmarshal(b, &page); err != nil {
			return 0, 0, fmt.Errorf("the list of tags: %w", err)
		}
		fresh, known := make([]string, 0, len(page.Tags)), len(seen)
		for _, tag := range page.Tags {
			if seen[tag] {
				continue
			}
			seen[tag] = true
			if !names.IsTag(tag) {
				odd = append(odd, tag)
				continue
			}
			fresh = append(fresh, tag)
		}
		if len(seen) > maxListedTags {
			return 0, 0, fmt.Errorf("more than %d tags", maxListedTags)
		}
		return len(page.Tags), len(seen) - known, take(fresh)
	})
	if err == nil && len(odd) > 0 {
		r.log.WarnContext(ctx, "the list of tags has names that cannot be tags: left out",
			"repository", r.remote.Reference.Repository, "names", len(odd), "first", printable(odd[0]))
	}
	return err
}
