package ecrclient

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// newAuth chooses how requests to host are authenticated.
func newAuth(o *options, host string, http *http.Client) doer {
	credential := dockerCredential()
	if o.credentials != nil {
		credential = givenCredential(o.credentials)
	} else if h, ok := ParseECRHost(host); ok {
		return &ecrAuth{http: http, tokens: o.tokens.source(host, h, o)}
	}
	return &auth.Client{
		Client:     http,
		Cache:      auth.NewCache(),
		Credential: credential,
		ClientID:   o.userAgent,
	}
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

// dockerCredential asks the Docker credential store, which is read when a
// registry first wants credentials. No configuration file is anonymous.
func dockerCredential() auth.CredentialFunc {
	load := sync.OnceValues(func() (auth.CredentialFunc, error) {
		if os.Getenv("DOCKER_CONFIG") == "" {
			if _, err := os.UserHomeDir(); err != nil {
				// There is no place for a configuration file to be, as in Lambda.
				return auth.StaticCredential("", auth.EmptyCredential), nil
			}
		}
		store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
		if err != nil {
			return nil, err
		}
		return credentials.Credential(store), nil
	})
	return func(ctx context.Context, host string) (auth.Credential, error) {
		credential, err := load()
		if err != nil {
			return auth.EmptyCredential, fmt.Errorf("read the Docker credential store: %w", err)
		}
		c, err := credential(ctx, host)
		if err != nil {
			return auth.EmptyCredential, fmt.Errorf("get Docker credentials for %s: %w", host, err)
		}
		return c, nil
	}
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
	again := req.Clone(req.Context())
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return resp, nil
		}
		if again.Body, err = req.GetBody(); err != nil {
			resp.Body.Close()
			return nil, err
		}
	}
	resp.Body.Close()
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
	return (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden) &&
		sameOrigin(req.URL, resp.Request.URL)
}
