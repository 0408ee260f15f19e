package interaction

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// ParamPosted is the parameter that carries a sealed request from a POST to a GET: a POST from another site comes without our cookies, a GET
// with them. It is tied to no browser, as the URL of a GET would not be.
const ParamPosted = "posted"

// maxPosted is how large a sealed request may be, in bytes, so that the URL that carries it passes everywhere.
const maxPosted = 7 << 10

// ErrTooLarge: the request does not fit into a URL.
var ErrTooLarge = errors.New("the request is too large")

var errPosted = errors.New("not a request that was posted here")

// SealPosted seals the parameters of a request that was POSTed to the endpoint with this path. ErrTooLarge.
func (s *Flows) SealPosted(path string, params oauth.Params) (string, error) {
	data := binary.AppendVarint(nil, s.Now().Unix())
	data = append(data, path+"?"+url.Values(params).Encode()...)
	sealed, err := s.Keys.Seal(keys.PurposePost, data)
	if err != nil {
		return "", fmt.Errorf("sealing a posted request: %w", err)
	}
	if len(sealed) > maxPosted {
		return "", ErrTooLarge
	}
	return sealed, nil
}

// OpenPosted gives the parameters back, to the endpoint that they were posted to.
func (s *Flows) OpenPosted(path, sealed string) (oauth.Params, error) {
	data, err := s.Keys.Open(keys.PurposePost, sealed)
	if err != nil {
		return nil, errPosted
	}
	seconds, n := binary.Varint(data)
	if n <= 0 || s.Now().Sub(time.Unix(seconds, 0)) > Lifetime {
		return nil, errPosted
	}
	query, ok := strings.CutPrefix(string(data[n:]), path+"?")
	if !ok {
		return nil, errPosted
	}
	return oauth.ParseForm(&http.Request{URL: &url.URL{RawQuery: query}}, false)
}

// SealPostedFlow seals a flow that a POST began, for the GET that it becomes. It is tied to no
// browser, as the URL of a GET would not be.
func (s *Flows) SealPostedFlow(f *Flow) (string, error) {
	sealed := *f
	sealed.Step = StepPosted
	out, err := s.Keys.Seal(keys.PurposePost, sealed.encode())
	if err != nil {
		return "", fmt.Errorf("sealing a posted request: %w", err)
	}
	return out, nil
}

// OpenPostedFlow gives a flow that a POST began to the GET that the POST became, and looks up what
// is registered now. The flow begins there.
func (s *Flows) OpenPostedFlow(sealed string) (*Visit, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return nil, Unavailable()
	}
	expired := &web.PageError{Status: http.StatusBadRequest, Code: oauth.InvalidRequest, Message: pages.MessageFlowExpired}
	data, err := s.Keys.Open(keys.PurposePost, sealed)
	if err != nil {
		return nil, expired
	}
	f, err := decodeFlow(data)
	if err != nil || f.Step != StepPosted || s.Now().Sub(time.Unix(f.Started, 0)) > Lifetime {
		return nil, expired
	}
	f.Started = s.Now().Unix()
	return s.visit(server, f)
}
