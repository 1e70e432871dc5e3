package ecrclient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// authFileVariable names a file that takes precedence over all others, as
// podman, buildah and skopeo do.
const authFileVariable = "REGISTRY_AUTH_FILE"

// dockerHub is the host of Docker Hub's registry.
const dockerHub = "registry-1.docker.io"

// keychain finds the credentials of docker login or podman login. Its files are
// read when a registry first wants credentials.
type keychain struct {
	host       string // of the registry
	repository string

	mu      sync.Mutex
	missing error // a credential helper that is not installed
}

// authFile is a file of credentials. Podman's have keys of host and path.
type authFile struct {
	path  string
	err   error // why there can be none
	paths bool
}

// keysError says in plain words why a file has no credentials.
type keysError struct {
	text  string
	cause error
}

func (e *keysError) Error() string { return e.text }
func (e *keysError) Unwrap() error { return e.cause }

// systemText is what the system says of a file, without its name.
func systemText(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// files are the places to look, in this order; the first that has credentials
// for the registry decides.
func (k *keychain) files() []authFile {
	var all []authFile
	if named := os.Getenv(authFileVariable); named != "" {
		info, err := os.Stat(named)
		if err == nil && info.IsDir() {
			err = syscall.EISDIR
		}
		if err != nil {
			err = &keysError{fmt.Sprintf("%s names %s, which cannot be read (%v)", authFileVariable, named,
				systemText(err)), err}
		}
		all = append(all, authFile{named, err, true})
	}
	home, homeErr := os.UserHomeDir() // in Lambda there is none
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		all = append(all, authFile{filepath.Join(dir, "config.json"), nil, false})
	} else if homeErr == nil {
		all = append(all, authFile{filepath.Join(home, ".docker", "config.json"), nil, false})
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		all = append(all, authFile{filepath.Join(dir, "containers", "auth.json"), nil, true})
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		all = append(all, authFile{filepath.Join(dir, "containers", "auth.json"), nil, true})
	} else if homeErr == nil {
		all = append(all, authFile{filepath.Join(home, ".config", "containers", "auth.json"), nil, true})
	}
	return all
}

// get returns the credentials for a host, or none without a login. A credential
// helper that is not installed counts as none, until the registry demands
// credentials.
func (k *keychain) get(ctx context.Context, host string) (auth.Credential, error) {
	for _, file := range k.files() {
		c, err := k.from(ctx, file, host)
		if err != nil || c != auth.EmptyCredential {
			return c, err
		}
	}
	return auth.EmptyCredential, nil
}

func (k *keychain) from(ctx context.Context, file authFile, host string) (auth.Credential, error) {
	if file.err != nil {
		return auth.EmptyCredential, file.err
	}
	store, err := credentials.NewStore(file.path, credentials.StoreOptions{})
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return auth.EmptyCredential, &keysError{fmt.Sprintf("the file of credentials %s cannot be read (%v)", file.path,
			systemText(path)), err}
	}
	if err != nil {
		return auth.EmptyCredential, &keysError{fmt.Sprintf("the file of credentials %s is no JSON as "+
			"\"docker login\" writes it", file.path), err}
	}
	for _, address := range k.addresses(host, file.paths) {
		c, err := store.Get(ctx, address)
		switch {
		case err == nil && c != auth.EmptyCredential:
			return c, nil
		case err == nil:
		case notInstalled(err):
			k.mu.Lock()
			k.missing = fmt.Errorf("the credential helper that %s names for %s is not installed (%w)", file.path, host,
				err)
			k.mu.Unlock()
			return auth.EmptyCredential, nil
		default:
			return auth.EmptyCredential, fmt.Errorf("get the credentials for %s from %s: %w", host, file.path, err)
		}
	}
	return auth.EmptyCredential, nil
}

// addresses are the keys under which credentials for the host can stand, the
// most special one first.
func (k *keychain) addresses(host string, paths bool) []string {
	short := host
	if host == dockerHub {
		short = "docker.io"
	}
	var all []string
	if paths && host == k.host {
		for path := k.repository; path != ""; {
			all = append(all, short+"/"+path)
			path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		}
	}
	if short != host && paths {
		all = append(all, short)
	}
	return append(all, credentials.ServerAddressFromHostname(host))
}

func notInstalled(err error) bool {
	return errors.Is(err, exec.ErrNotFound) ||
		strings.Contains(err.Error(), "desktop.exe") // for which oras-go has a text of its own
}

// hint says what to do when the registry did not accept the credentials.
func (k *keychain) hint() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.missing != nil {
		return k.missing.Error()
	}
	login := "docker login"
	if k.host != dockerHub {
		login += " " + k.host
	}
	return fmt.Sprintf("log in with %q, or name a file of credentials in %s", login, authFileVariable)
}
