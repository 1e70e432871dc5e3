package ecrclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"

	"soci-index-builder/internal/names/lazyregexp"
)

// newAuth chooses how requests to a repository of host are authenticated.
func newAuth(o *options, host, repository string, http *http.Client) doer {
	a := &loginAuth{host: host}
	var credential auth.CredentialFunc
	if o.credentials != nil {
		credential = givenCredential(o.credentials)
	} else if h, ok := ParseECRHost(host); ok {
		return &ecrAuth{http: http, tokens: o.tokens.source(host, h, o)}
	} else {
		a.keys = &keychain{host: host, repository: repository}
		credential = a.keys.get
	}
	a.fresh = func() *auth.Client {
		return &auth.Client{Client: http, Cache: auth.NewCache(), Credential: credential, ClientID: o.userAgent}
	}
	a.client = a.fresh()
	return a
}

// givenCredential asks the function of WithCredentials.
func givenCredential(f CredentialFunc) auth.CredentialFunc {
	return func(ctx context.Context, host string) (auth.Credential, error) {
		user, password, err := f(ctx, host)
		if err != nil {
			return auth.EmptyCredential, fmt.Errorf("get credentials for %s: %w", host, err)
		}
		return auth.Credential{Username: user, Password: password}, nil
	}
}

// loginAuth sends requests with the credentials of a login, or with a token
// that the registry issues for them. oras-go renews a token when it is refused
// with 401.
type loginAuth struct {
	host  string
	keys  *keychain // nil for those of WithCredentials
	fresh func() *auth.Client

	mu     sync.Mutex
	client *auth.Client // with the tokens so far
}

func (a *loginAuth) Do(req *http.Request) (*http.Response, error) {
	client := a.current()
	resp, err := client.Do(req)
	if err != nil || !sameOrigin(req.URL, resp.Request.URL) || resp.Request.Header.Get("Authorization") == "" {
		return resp, err
	}
	// oras-go sends the PUT of an upload with the token of its POST, and only
	// that: it may have expired in between.
	repeated := resp.StatusCode == http.StatusUnauthorized && req.Header.Get("Authorization") != ""
	ended := tokenEnded(resp)
	if !repeated && !ended {
		return resp, nil
	}
	again, err := anew(req, resp)
	if err != nil {
		return nil, err
	}
	if again == nil {
		return resp, nil
	}
	again.Header.Del("Authorization")
	if ended {
		client = a.renew(client)
	}
	return client.Do(again)
}

func (a *loginAuth) current() *auth.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.client
}

// renew drops the tokens of a client, unless another caller already has.
func (a *loginAuth) renew(old *auth.Client) *auth.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == old {
		a.client = a.fresh()
	}
	return a.client
}

// hint says what to do when the registry refuses; empty if that is not known.
func (a *loginAuth) hint() string {
	if a.keys == nil {
		return ""
	}
	return a.keys.hint()
}

// anew makes a request again that resp answers, whose body is closed then. It
// returns nil, and leaves resp as it is, if the request's body cannot be read a
// second time.
func anew(req *http.Request, resp *http.Response) (*http.Request, error) {
	again := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody {
		resp.Body.Close()
		return again, nil
	}
	if req.GetBody == nil {
		return nil, nil
	}
	resp.Body.Close()
	var err error
	if again.Body, err = req.GetBody(); err != nil {
		return nil, err
	}
	return again, nil
}

var endedPattern = lazyregexp.New(`(?i)\btoken\b[^.]*\b(expired|invalid|not valid|no longer valid)\b` +
	`|\b(expired|invalid)\b[^.]*\btoken\b`)

// tokenEnded reports whether an answer of 400 says that the token has expired,
// as ECR's registries do, including the public one: "Your authorization token
// has expired. Reauthenticate and try again." The body can still be read.
func tokenEnded(resp *http.Response) bool {
	if resp.StatusCode != http.StatusBadRequest {
		return false
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body = &readAgain{io.MultiReader(bytes.NewReader(text), resp.Body), resp.Body}
	return err == nil && endedPattern.MatchString(string(text))
}

// readAgain is a body of which the beginning was read before.
type readAgain struct {
	io.Reader
	io.Closer
}

// ecrAuth sends requests to one ECR registry with its token.
type ecrAuth struct {
	http   *http.Client
	tokens *tokenSource
}

// Do sends req with the cached token. When the registry does not accept it,
// the token is dropped and a new one is tried, once.
func (a *ecrAuth) Do(req *http.Request) (*http.Response, error) {
	token, cached, err := a.tokens.get(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := a.send(req, token)
	if err != nil || !refused(req, resp) {
		return resp, err
	}
	a.tokens.drop(token)
	if !cached {
		return resp, nil // it is not the token's age
	}
	again, err := anew(req, resp)
	if err != nil {
		return nil, err
	}
	if again == nil {
		return resp, nil
	}
	if token, _, err = a.tokens.get(req.Context()); err != nil {
		return nil, err
	}
	return a.send(again, token)
}

func (a *ecrAuth) send(req *http.Request, token string) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Header.Set("Authorization", "Basic "+token)
	return a.http.Do(out)
}

// refused reports whether the registry itself did not accept the credentials.
func refused(req *http.Request, resp *http.Response) bool {
	return sameOrigin(req.URL, resp.Request.URL) &&
		(resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden || tokenEnded(resp))
}
