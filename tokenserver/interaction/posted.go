package interaction

import (
	"fmt"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/oauth"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// ParamPosted is the parameter that carries a sealed request from a POST to a GET: a POST from another site comes without our cookies, a GET
// with them. It is tied to no browser, as the URL of a GET would not be.
const ParamPosted = "posted"

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
func (s *Flows) OpenPostedFlow(sealed string) (*ResolvedFlow, error) {
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
	if err != nil || f.Step != StepPosted || s.Now().Sub(time.Unix(f.StartedAt, 0)) > Lifetime {
		return nil, expired
	}
	f.StartedAt = s.Now().Unix()
	return s.resolve(server, f)
}
