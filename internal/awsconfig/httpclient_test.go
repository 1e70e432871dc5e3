package awsconfig_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"soci-index-builder/internal/awsconfig"
)

// closedBody is as the SDK's is after it was closed, once it has been read.
type closedBody struct{ io.Reader }

func (closedBody) Close() error { return nil }

func (b closedBody) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, struct{ io.Reader }{b.Reader})
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

func TestHTTPClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()
	send := func(client interface {
		Do(*http.Request) (*http.Response, error)
	}) (string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL,
			closedBody{strings.NewReader("question")})
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = int64(len("question"))
		resp, err := client.Do(r)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	for range 20 {
		if answer, err := send(awsconfig.NewHTTPClient(nil)); err != nil || answer != "question" {
			t.Fatalf("%q, %v", answer, err)
		}
	}
}

func TestHTTPClientWithoutBody(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := awsconfig.NewHTTPClient(http.DefaultClient).Do(r)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
}

// An answer that breaks off is asked for again; one that does so late is not
// taken for whole either.
func TestAnswerBreaksOff(t *testing.T) {
	const answer = `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>` +
		`</GetCallerIdentityResult></GetCallerIdentityResponse>`
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch {
		case r.URL.Path == "/large":
			_, _ = io.CopyN(w, zeros{}, 2<<20)
			panic(http.ErrAbortHandler)
		case asked == 1:
			w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
			_, _ = io.WriteString(w, answer[:40])
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, answer)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer server.Close()
	client := awsconfig.NewHTTPClient(nil)
	cfg := aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(server.URL), HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || aws.ToString(out.Account) != "123456789012" || asked != 2 {
		t.Errorf("%+v, %v, asked %d times", out, err, asked)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/large", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil || n < 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
