package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// requestTimeout is how long a client waits for an answer.
const requestTimeout = 30 * time.Second

// credentials are those of one client: as its Secret has them, or the token of its workload.
type credentials struct {
	id, secret, endpoint string
	assertion            string // the token of the workload, which a client without a secret sends
	forwardedFor         string // an X-Forwarded-For to send, as someone would who lies about who he is
}

// readCredentials reads a mounted Secret.
func readCredentials(dir string) (credentials, error) {
	var c credentials
	for key, value := range map[string]*string{"client_id": &c.id, "client_secret": &c.secret, "token_endpoint": &c.endpoint} {
		content, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil {
			return c, fmt.Errorf("reading the mounted Secret: %w", err)
		}
		*value = string(content)
	}
	return c, nil
}

// readEither reads the token of a workload if a file of one is named, and else a mounted Secret.
func readEither(secretDir, tokenFile string) (credentials, error) {
	if tokenFile == "" {
		return readCredentials(secretDir)
	}
	content, err := os.ReadFile(tokenFile)
	if err != nil {
		return credentials{}, fmt.Errorf("reading the workload's token: %w", err)
	}
	return credentials{assertion: string(content)}, nil
}

// newTransport opens a connection for each request, or keeps one. It trusts the certificate
// authorities in the file; none is named: the system's.
func newTransport(caFile string, keep bool) (*http.Transport, error) {
	t := &http.Transport{MaxConnsPerHost: 1, DisableKeepAlives: !keep, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if caFile == "" {
		return t, nil
	}
	content, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s has no certificate", caFile)
	}
	return t, nil
}

// answer of the token endpoint, and the serial number of the certificate that the server showed.
type answer struct {
	Status       int    `json:"status"`
	Certificate  string `json:"certificate,omitempty"`
	AccessToken  string `json:"access_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Error        string `json:"error,omitempty"`
	Description  string `json:"error_description,omitempty"`
}

// errorAnswer is an answer that is no token.
type errorAnswer struct{ answer }

func (e errorAnswer) Error() string {
	return fmt.Sprintf("the answer is %d %s: %s", e.Status, e.answer.Error, e.Description)
}

// requestToken sends a form to the token endpoint. The error is an errorAnswer when the server
// answered.
func requestToken(ctx context.Context, client *http.Client, c credentials, form url.Values) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if c.assertion != "" { // RFC 7523 section 2.2
		form = maps.Clone(form)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", c.assertion)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.assertion == "" {
		request.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret))
	}
	if c.forwardedFor != "" {
		request.Header.Set("X-Forwarded-For", c.forwardedFor)
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return answer{}, err
	}
	a := answer{Status: response.StatusCode}
	if response.TLS != nil {
		a.Certificate = response.TLS.PeerCertificates[0].SerialNumber.String()
	}
	if err := json.Unmarshal(body, &a); err != nil {
		a.Description = string(body[:min(len(body), 200)])
	}
	if response.StatusCode != http.StatusOK || a.AccessToken == "" {
		return a, errorAnswer{a}
	}
	return a, nil
}

// tokenCommand prints the answer as JSON, whatever it is. It fails if there is none.
func tokenCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	secret := flags.String("secret", "/secret", "directory of the client's Secret")
	workloadToken := flags.String("workload-token", "", "file of the workload's token, which is sent instead of a Secret's content; needs -endpoint")
	caFile := flags.String("ca", "", "file of the certificate authority")
	endpoint := flags.String("endpoint", "", "URL of the token endpoint; default: the Secret's token_endpoint")
	forwardedFor := flags.String("forwarded-for", "", "X-Forwarded-For to send")
	connectWithin := flags.Duration("connect-within", 0,
		"how long refused connections are tried again: nodes learn of a new Service a moment after its Pods are ready")
	form := url.Values{}
	flags.Func("form", "parameter to send, as name=value; default: grant_type=client_credentials", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("it is not name=value")
		}
		form.Add(name, value)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if len(form) == 0 {
		form.Set("grant_type", "client_credentials")
	}
	c, err := readEither(*secret, *workloadToken)
	if err != nil {
		return err
	}
	c.forwardedFor = *forwardedFor
	if *endpoint != "" {
		c.endpoint = *endpoint
	}
	transport, err := newTransport(*caFile, false)
	if err != nil {
		return err
	}
	a, err := requestToken(ctx, &http.Client{Transport: transport}, c, form)
	for began := time.Now(); errors.Is(err, syscall.ECONNREFUSED) && time.Since(began) < *connectWithin; {
		time.Sleep(100 * time.Millisecond)
		a, err = requestToken(ctx, &http.Client{Transport: transport}, c, form)
	}
	if _, answered := errors.AsType[errorAnswer](err); err != nil && !answered {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}
