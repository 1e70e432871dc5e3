package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/imagefile"
	"soci-index-builder/internal/inspect"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/verify"
	"soci-index-builder/pkg/ecrclient"
)

// imageFlags are those of the commands that take images by name, of ECR or of
// another registry.
type imageFlags struct {
	registryFlags
	aws awsFlags

	configs map[string]aws.Config // by region, so that nobody is asked for a code twice
	stores  map[string]*imagefile.Store
	host    string // of the account's own registry; empty until it is known
}

func (f *imageFlags) add(cmd *cobra.Command) {
	f.registryFlags.add(cmd)
	f.aws.add(cmd)
}

// open returns the repository of ref, and the tag or digest in it. Without a host
// ref is of the account's ECR registry.
func (f *imageFlags) open(cmd *cobra.Command, ref string) (*ecrclient.Repository, string, error) {
	if err := f.aws.check(cmd); err != nil {
		return nil, "", err
	}
	image, err := names.Parse(ref)
	if err != nil {
		return nil, "", usageErrorf("%w", orPath(err, ref))
	}
	if image.Host == "" {
		if image.Host, err = f.accountHost(cmd); err != nil {
			return nil, "", orPath(hostless(cmd, err, ref), ref)
		}
		ref = image.String()
	}
	opts := f.options(cmd)
	if host, ok := ecrclient.ParseECRHost(image.Host); ok {
		endpoint := ecrEndpoint()
		opts = append(opts, endpoint...)
		if len(endpoint) == 0 {
			cfg, err := f.config(cmd, host.Region)
			if err != nil {
				return nil, "", err
			}
			opts = append(opts, ecrclient.WithAWSConfig(cfg))
		}
	}
	repo, err := ecrclient.New(ref, opts...)
	if err != nil {
		return nil, "", usageErrorf("%w", err)
	}
	return repo, cmp.Or(repo.Reference(), "latest"), nil
}

// orPath adds a hint to an error about a name if a file or folder of that name exists.
func orPath(err error, ref string) error {
	if _, missing := os.Stat(ref); ref == "" || names.IsPath(ref) || missing != nil {
		return err
	}
	return fmt.Errorf("%w; the file or folder of that name is ./%s", err, ref)
}

// config returns the AWS configuration of a region, that of the flags and the
// environment if it is empty.
func (f *imageFlags) config(cmd *cobra.Command, region string) (aws.Config, error) {
	if cfg, ok := f.configs[region]; ok {
		return cfg, nil
	}
	cfg, err := f.aws.in(cmd, region)
	if err != nil {
		return cfg, err
	}
	if f.configs == nil {
		f.configs = make(map[string]aws.Config)
	}
	f.configs[region], f.configs[cfg.Region] = cfg, cfg
	return cfg, nil
}

// accountHost returns the host of the registry of the account and region. It asks
// for what reading an image needs as well, a token, so it needs no other
// permission.
func (f *imageFlags) accountHost(cmd *cobra.Command) (string, error) {
	if f.host != "" {
		return f.host, nil
	}
	cfg, err := f.config(cmd, "")
	if err != nil {
		return "", err
	}
	out, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(cmd.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", explain(fmt.Errorf("looking for the account's ECR registry: %w", err))
	}
	for _, data := range out.AuthorizationData {
		endpoint := strings.TrimPrefix(aws.ToString(data.ProxyEndpoint), "https://")
		if host, ok := names.ParseECRHost(endpoint); ok {
			f.host, err = ecrclient.RegistryHost(host.Account, cfg.Region)
			return f.host, err
		}
	}
	return "", errors.New("looking for the account's ECR registry: ECR does not name it; put its host before the image")
}

// resolve is open, and asks what the tag or digest names.
func (f *imageFlags) resolve(cmd *cobra.Command, ref string) (
	*ecrclient.Repository, string, ocispec.Descriptor, error) {
	repo, reference, err := f.open(cmd, ref)
	if err != nil {
		return nil, "", ocispec.Descriptor{}, err
	}
	desc, err := repo.Resolve(cmd.Context(), reference)
	return repo, reference, desc, f.explain(cmd, err)
}

// repository is what holds an image: one of a registry, or a file.
type repository interface {
	inspect.VersionsRepository
	verify.Ranger
	Name() string
	Tags(ctx context.Context) ([]string, error)
}

// find is resolve, for PATH[:TAG|@DIGEST] of a file or folder as well.
func (f *imageFlags) find(cmd *cobra.Command, ref string) (repository, string, ocispec.Descriptor, error) {
	if !names.IsPath(ref) {
		return f.resolve(cmd, ref)
	}
	store, reference, err := f.store(cmd, ref)
	if err != nil {
		return nil, "", ocispec.Descriptor{}, err
	}
	if reference == "" {
		if reference, err = store.Only(cmd.Context()); err != nil {
			return nil, "", ocispec.Descriptor{}, err
		}
	}
	desc, err := store.Resolve(cmd.Context(), reference)
	return store, reference, desc, err
}

// store returns what a path names, which stays open until the process ends.
func (f *imageFlags) store(cmd *cobra.Command, ref string) (*imagefile.Store, string, error) {
	path, reference := imagefile.Split(ref)
	store, ok := f.stores[path]
	if !ok {
		var err error
		store, err = imagefile.Open(cmd.Context(), path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, "", usageErrorf("%s: no such file or folder; an image in a registry is named "+
				"[HOST/]REPOSITORY[:TAG|@DIGEST]", path)
		}
		if err != nil {
			return nil, "", err
		}
		if f.stores == nil {
			f.stores = make(map[string]*imagefile.Store)
		}
		f.stores[path] = store
	}
	return store, reference, nil
}

// explain is the function of this name, and says of a registry other than ECR that
// it was spoken to in the wrong one of HTTP and HTTPS.
func (f *registryFlags) explain(cmd *cobra.Command, err error) error {
	err = explain(err)
	e, ok := errors.AsType[*ecrclient.Error](err)
	if !ok {
		return err
	}
	host, _, _ := strings.Cut(e.Repository, "/")
	if _, ofECR := e.ECRHost(); ofECR {
		return err
	}
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	if notTLS || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return &otherSchemeError{err, host + " speaks plain HTTP: use --plain-http"}
	}
	repo, unnamed := ecrclient.New(e.Repository, f.options(cmd)...)
	if unnamed != nil || !repo.PlainHTTP() || cmd.Context().Err() != nil ||
		e.Status != http.StatusBadRequest && e.Status != 0 {
		return err
	}
	if f.speaksTLS(cmd.Context(), host) {
		return &otherSchemeError{err, host + " speaks HTTPS: use --plain-http=false"}
	}
	return err
}

// otherSchemeError stands for what net/http says of the wrong one of HTTP and
// HTTPS.
type otherSchemeError struct {
	err  error
	text string
}

func (e *otherSchemeError) Error() string { return e.text }
func (e *otherSchemeError) Unwrap() error { return e.err }

// speaksTLS is the function of this name, asked once for each host: many images of
// it may fail, and one that does not answer takes time.
func (f *registryFlags) speaksTLS(ctx context.Context, host string) bool {
	if f.tls == nil {
		f.tls = map[string]bool{}
	}
	if _, asked := f.tls[host]; !asked {
		f.tls[host] = speaksTLS(ctx, host)
	}
	return f.tls[host]
}

// speaksTLS asks a host for a TLS handshake. Nothing is sent through it, so
// whether its certificate is good does not matter.
func speaksTLS(ctx context.Context, host string) bool {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "80")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
