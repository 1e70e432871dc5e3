package main

import (
	"cmp"
	"net/http"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/testkit/registrytest"
)

// habitWorld gives the registry of a script the habits of others:
//
//	habit NAME [STATUS]    takes on a habit, beside those before
//	habit none             forgets all of them
type habitWorld struct{ registry *registrytest.Server }

// habits are what they do, the status being theirs where they answer with one.
var habits = map[string]func(status int) registrytest.Rule{
	// The referrers API is not there, or refuses.
	"referrers": func(status int) registrytest.Rule {
		return registrytest.Rule{Path: "/referrers/", Fault: registrytest.Status(status, "", "")}
	},
	"referrerspage": func(int) registrytest.Rule {
		return registrytest.Rule{Path: "/referrers/", Fault: registrytest.Page(http.StatusOK)}
	},
	// HEAD is refused, or tells next to nothing.
	"head": func(status int) registrytest.Rule {
		return registrytest.Rule{Method: http.MethodHead, Fault: registrytest.Status(status, "", "")}
	},
	"silent": func(int) registrytest.Rule {
		return registrytest.Rule{Method: http.MethodHead, Path: "/manifests/", Fault: registrytest.Both(
			registrytest.Header("Content-Type", ""), registrytest.Header("Docker-Content-Digest", ""))}
	},
	// Range is refused.
	"range": func(status int) registrytest.Rule {
		return registrytest.Rule{Method: http.MethodGet, Path: "/blobs/", Fault: registrytest.RefuseRange(status)}
	},
	// The list of tags leads to itself.
	"circle": func(int) registrytest.Rule {
		return registrytest.Rule{Path: "/tags/list",
			Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				w.Header().Set("Link", "<"+r.URL.RequestURI()+`>; rel="next"`)
				next.ServeHTTP(w, r)
			}}
	},
	// A tag that is there is not moved.
	"immutable": func(status int) registrytest.Rule {
		return registrytest.Rule{Method: http.MethodPut, Path: "/manifests/",
			Fault: registrytest.ImmutableTags(status, "")}
	},
	// Credentials are wanted.
	"login": func(int) registrytest.Rule {
		return registrytest.Rule{Fault: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Www-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		}}
	},
	// A page in the place of every answer.
	"page": func(status int) registrytest.Rule {
		return registrytest.Rule{Fault: registrytest.Page(cmp.Or(status, http.StatusOK))}
	},
	// It has too much to do, or a fault.
	"busy": func(status int) registrytest.Rule {
		return registrytest.Rule{Fault: registrytest.Status(status, "", "")}
	},
	// It is a proxy, which connects nobody.
	"proxy": func(status int) registrytest.Rule {
		return registrytest.Rule{Method: http.MethodConnect, Fault: registrytest.Status(status, "", "")}
	},
	// Manifests are not deleted.
	"undeletable": func(status int) registrytest.Rule {
		return registrytest.Rule{Method: http.MethodDelete, Path: "/manifests/",
			Fault: registrytest.Status(status, "", "")}
	},
	// Nothing can be uploaded.
	"upload": func(status int) registrytest.Rule {
		return registrytest.Rule{Method: http.MethodPost, Path: "/uploads/",
			Fault: registrytest.Status(status, "DENIED", "no")}
	},
}

func (w *habitWorld) habit(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "none" {
		w.registry.Clear()
		return
	}
	habit, ok := habits[args[0]]
	if !ok {
		ts.Fatalf("no habit %s", args[0])
	}
	status := 0
	if len(args) > 1 {
		var err error
		status, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	w.registry.Add(habit(status))
}
