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

// ParamPosted is the parameter that carries a sealed request from a POST to a GET. A browser sends
// our cookies with the GET, but not with a POST from another site.
const ParamPosted = "posted"

// SealPostedFlow seals the flow of a request by POST for the GET that follows it. Like the URL of
// any authorization request, the result is not tied to a browser.
func (s *Flows) SealPostedFlow(f *Flow) (string, error) {
	sealed := *f
	sealed.Step = StepPosted
	out, err := s.Keys.Seal(keys.PurposePost, sealed.encode())
	if err != nil {
		return "", fmt.Errorf("sealing a posted request: %w", err)
	}
	return out, nil
}

// OpenPostedFlow opens what SealPostedFlow sealed, and resolves it. The flow starts anew.
func (s *Flows) OpenPostedFlow(sealed string) (*ResolvedFlow, error) {
	server, ok := s.Registry.Server()
	if !ok {
		return nil, web.NotReady()
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
