package login

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/oauth-operator/oauth-operator/tokenserver/interaction"
	"github.com/oauth-operator/oauth-operator/tokenserver/pages"
	"github.com/oauth-operator/oauth-operator/tokenserver/web"
)

// showChooser shows the ways to sign in, and says why the last one failed.
func (h *Handler) showChooser(v visit) error {
	page := pages.Chooser{Client: v.client(), Server: pages.Host(v.flow.Server.Issuer), Failure: h.describeFailure(v.flow)}
	link, err := h.chooserURL(v)
	if err != nil {
		return err
	}
	for _, way := range v.ways {
		shown := pages.Way{URL: link + "&" + paramWay + "=" + url.QueryEscape(way.Name()), Name: way.Name()}
		if way.Provider != nil {
			shown.DisplayName = way.Provider.DisplayName
		}
		page.Ways = append(page.Ways, shown)
	}
	return web.Page(v.w, http.StatusOK, page, v.flow.RedirectURI)
}

// chooserURL returns the URL of the page with the ways. It shows no failure.
func (h *Handler) chooserURL(v visit) (string, error) {
	flow := *v.flow.Flow
	flow.Way, flow.Failure = "", 0
	// The user has seen the page, and is not sent on without being asked.
	flow.Departed = true
	sealed, err := h.Flows.Seal(&flow, interaction.StepLogin)
	if err != nil {
		return "", err
	}
	address, err := v.url()
	return address + "?" + interaction.ParamFlow + "=" + url.QueryEscape(sealed), err
}

var failureMessages = map[interaction.Failure]string{
	interaction.FailureAway: pages.FailureAway, interaction.FailureRefused: pages.FailureRefused, interaction.FailureInvalid: pages.FailureInvalid,
	interaction.FailureDenied: pages.FailureDenied, interaction.FailureOtherUser: pages.FailureOtherUser, interaction.FailureFull: pages.FailureFull,
	interaction.FailureBusy: pages.FailureBusy, interaction.FailureTooOften: pages.FailureTooOften,
}

// describeFailure returns the sentence that says why the user did not sign in at an identity provider;
// empty if that has not happened.
func (h *Handler) describeFailure(flow *interaction.ResolvedFlow) string {
	message, ok := failureMessages[flow.Failure]
	if !ok {
		return ""
	}
	name := "the identity provider"
	if p, ok := h.Registry.IdentityProviderByUID(flow.Way); ok {
		name = p.DisplayName
	}
	return fmt.Sprintf(message, name)
}
