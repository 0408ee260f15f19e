package v1alpha1

// String types with validation rules. They are aliases: to Go a field of such a type is a string.
// Where the format is one of Kubernetes, the rule is a pattern; elsewhere it is a CEL rule, whose
// message says what to change.

// ServerName is the name of an AuthorizationServer.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=40
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type ServerName = string

// NamespaceName is the name of a namespace.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type NamespaceName = string

// RuleName is the name of a rule; conditions quote it.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type RuleName = string

// ObjectName is the name of an object: a DNS subdomain.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
type ObjectName = string

// SecretKey is a key in the data of a Secret.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
type SecretKey = string

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
type LabelValue = string

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue = string

// KeyID identifies a key (RFC 7517 section 4.5).
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
type KeyID = string

// CredentialID identifies a credential of a client.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule=`self.matches('^c-[0-9a-f]{16}$')`,message="must be the id of a credential in status.credentials, such as c-5d0c5a4b1f0e9a37; a secret does not belong here"
type CredentialID = string

// ClientIDPattern is a client id, a prefix that ends in "*", or "*" for any.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=255
// +kubebuilder:validation:XValidation:rule=`self.matches('^([A-Za-z0-9._~-]+[*]?|[*])$')`,message="a client id in clientIDs has the characters A-Z a-z 0-9 . _ ~ - only; * may stand at its end, or alone"
type ClientIDPattern = string

// Scope is a scope token (RFC 6749 section 3.3) without "*", which rules use for a prefix.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule=`self.matches('^[!#-)+-\\[\\]-~]+$')`,message="a scope has printable ASCII characters without space, double quote and backslash (RFC 6749 section 3.3), and no *: name each scope"
type Scope = string

// ScopePattern is a scope, a prefix that ends in "*", or "*" for any.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule=`self.matches('^([!#-)+-\\[\\]-~]+[*]?|[*])$')`,message="a scope in a rule has printable ASCII characters without space, double quote and backslash (RFC 6749 section 3.3); * may stand at its end, or alone"
type ScopePattern = string

// IdentifierPattern is a resource identifier, one with "*." in place of the first label of its
// host, or "*" for any.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule=`self.matches('^([A-Za-z][A-Za-z0-9+.-]*:(//[*][.])?[A-Za-z0-9._~:/?\\[\\]@!$&\'()+,;=%-]+|[*])$')`,message="an identifier in identifiers is an absolute URI such as https://orders.example.com; * may stand alone, or as *. for one whole label at the beginning of the host"
type IdentifierPattern = string

// RedirectHost is a host, "*." before a host for one whole label, or "*" for any.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=255
// +kubebuilder:validation:XValidation:rule=`self.matches('^([*]|([*][.])?[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\\[[0-9a-f:.]+\\])$')`,message="a host in redirectHosts is a lower-case host name without scheme, port and path; * may stand alone, or as *. for one whole label at the beginning"
type RedirectHost = string

// RedirectScheme is a private-use URI scheme (RFC 8252 section 7.1), or "*" for any that contains a
// dot. Package redirecturi lists the schemes that are never one; a test holds this rule
// and that of RedirectURI to it.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule=`self.matches('^([a-z][a-z0-9+-]*([.][a-z0-9+-]+)*|[*])$')`,message="a scheme in redirectSchemes is a private-use scheme in lower case without :, such as com.example.app (RFC 8252 section 7.1), or * for any that contains a dot"
// +kubebuilder:validation:XValidation:rule=`!(self in ['aaa', 'aaas', 'about', 'acap', 'acct', 'afp', 'app-prefs', 'applescript', 'appstore', 'blob', 'brave', 'callto', 'cap', 'chrome', 'cid', 'cifs', 'coap', 'coap+tcp', 'coap+ws', 'coaps', 'coaps+tcp', 'coaps+ws', 'content', 'crid', 'data', 'dav', 'devtools', 'dict', 'dns', 'dtn', 'edge', 'example', 'facetime', 'facetime-audio', 'feed', 'file', 'filesystem', 'ftp', 'geo', 'go', 'gopher', 'h323', 'hcp', 'help', 'http', 'https', 'iax', 'icap', 'im', 'imap', 'info', 'intent', 'ipn', 'ipp', 'ipps', 'irc', 'ircs', 'iris', 'iris.beep', 'iris.lwz', 'iris.xpc', 'iris.xpcs', 'its', 'jabber', 'jar', 'javascript', 'jnlp', 'jnlps', 'ldap', 'ldaps', 'leaptofrogans', 'livescript', 'macappstore', 'macappstores', 'magnet', 'mailto', 'maps', 'market', 'message', 'mhtml', 'mid', 'mk', 'mms', 'mmsto', 'mocha', 'msrp', 'msrps', 'mtqp', 'mupdate', 'news', 'nfs', 'ni', 'nih', 'nntp', 'opaquelocktoken', 'opera', 'pkcs11', 'pop', 'prefs', 'pres', 'reload', 'res', 'resource', 'rtsp', 'rtsps', 'rtspu', 'search', 'service', 'session', 'sftp', 'shell', 'shttp', 'sieve', 'sip', 'sips', 'smb', 'sms', 'smsto', 'snmp', 'soap.beep', 'soap.beeps', 'ssh', 'stun', 'stuns', 'tag', 'tel', 'telnet', 'tftp', 'thismessage', 'tip', 'tn3270', 'turn', 'turns', 'tv', 'urn', 'vbscript', 'vemmi', 'view-source', 'vnc', 'wais', 'webcal', 'webcals', 'ws', 'wss', 'wyciwyg', 'x-man-page', 'xcon', 'xcon-userid', 'xmlrpc.beep', 'xmlrpc.beeps', 'xmpp', 'z39.50r', 'z39.50s'] || self.matches('^(android-|chrome-|itms|microsoft-|microsoft[.]|moz-|ms-|safari-|search-|x-apple)'))`,message="a scheme in redirectSchemes must not be one that browsers or operating systems handle themselves or that IANA has registered, such as javascript, intent, ms-settings or mailto: no application owns it"
type RedirectScheme = string

// ClaimName is the name of a claim about a user.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule=`self.matches('^[!-~]+$')`,message="a claim in idTokenClaims has printable ASCII characters without space"
// +kubebuilder:validation:XValidation:rule=`!(self in ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'azp', 'nonce', 'auth_time', 'acr', 'amr', 'sid', 'client_id', 'scope', 'act', 'may_act', 'cnf', 'events', 'at_hash', 'c_hash', 's_hash', 'identity_provider'])`,message="idTokenClaims must not name a claim that the protocol sets (iss, sub, aud, exp, nonce and so on): remove it, users cannot have it"
type ClaimName = string

// RedirectURI is one redirection endpoint (RFC 6749 section 3.1.2), compared exactly. One rule for
// each way to be wrong, so that the message says which; a rule passes what another rule refuses, so
// that one mistake has one message.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule=`self.matches('^([A-Za-z0-9._~:/?#\\[\\]@!$&\'()*+,;=-]|%[0-9A-Fa-f]{2})*$')`,message="a redirect URI has the characters of RFC 3986 only: no spaces, control characters, backslashes or other characters; percent-encode them (%20)"
// +kubebuilder:validation:XValidation:rule=`self.matches('^[A-Za-z][A-Za-z0-9+.-]*:.')`,message="a redirect URI must be absolute, such as https://app.example.com/callback"
// +kubebuilder:validation:XValidation:rule=`!self.matches('^[A-Za-z][A-Za-z0-9+.-]*:') || self.matches('^[a-z][a-z0-9+-]*([.][a-z0-9+-]+)*:')`,message="the scheme of a redirect URI must be https, http for loopback hosts, or a private-use scheme, such as com.example.app (RFC 8252 section 7.1), in lower case"
// +kubebuilder:validation:XValidation:rule=`!(self.split(':', 2)[0] in ['aaa', 'aaas', 'about', 'acap', 'acct', 'afp', 'app-prefs', 'applescript', 'appstore', 'blob', 'brave', 'callto', 'cap', 'chrome', 'cid', 'cifs', 'coap', 'coap+tcp', 'coap+ws', 'coaps', 'coaps+tcp', 'coaps+ws', 'content', 'crid', 'data', 'dav', 'devtools', 'dict', 'dns', 'dtn', 'edge', 'example', 'facetime', 'facetime-audio', 'feed', 'file', 'filesystem', 'ftp', 'geo', 'go', 'gopher', 'h323', 'hcp', 'help', 'iax', 'icap', 'im', 'imap', 'info', 'intent', 'ipn', 'ipp', 'ipps', 'irc', 'ircs', 'iris', 'iris.beep', 'iris.lwz', 'iris.xpc', 'iris.xpcs', 'its', 'jabber', 'jar', 'javascript', 'jnlp', 'jnlps', 'ldap', 'ldaps', 'leaptofrogans', 'livescript', 'macappstore', 'macappstores', 'magnet', 'mailto', 'maps', 'market', 'message', 'mhtml', 'mid', 'mk', 'mms', 'mmsto', 'mocha', 'msrp', 'msrps', 'mtqp', 'mupdate', 'news', 'nfs', 'ni', 'nih', 'nntp', 'opaquelocktoken', 'opera', 'pkcs11', 'pop', 'prefs', 'pres', 'reload', 'res', 'resource', 'rtsp', 'rtsps', 'rtspu', 'search', 'service', 'session', 'sftp', 'shell', 'shttp', 'sieve', 'sip', 'sips', 'smb', 'sms', 'smsto', 'snmp', 'soap.beep', 'soap.beeps', 'ssh', 'stun', 'stuns', 'tag', 'tel', 'telnet', 'tftp', 'thismessage', 'tip', 'tn3270', 'turn', 'turns', 'tv', 'urn', 'vbscript', 'vemmi', 'view-source', 'vnc', 'wais', 'webcal', 'webcals', 'ws', 'wss', 'wyciwyg', 'x-man-page', 'xcon', 'xcon-userid', 'xmlrpc.beep', 'xmlrpc.beeps', 'xmpp', 'z39.50r', 'z39.50s'] || self.matches('^(android-|chrome-|itms|microsoft-|microsoft[.]|moz-|ms-|safari-|search-|x-apple)'))`,message="the scheme of a redirect URI must not be one that browsers or operating systems handle themselves or that IANA has registered, such as javascript, intent, ms-settings or mailto: use https or a private-use scheme such as com.example.app (RFC 8252 section 7.1)"
// +kubebuilder:validation:XValidation:rule=`!self.matches('^https?:') || self.matches('^https?://([^/?#]*@)?([A-Za-z0-9_*]([A-Za-z0-9._*-]*[A-Za-z0-9*])?|\\[[0-9A-Fa-f:.]+\\])(:(([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])|[*]))?([/?#]|$)')`,message="a redirect URI with https or http must name a host after //, and if a port then one from 1 to 65535"
// +kubebuilder:validation:XValidation:rule=`!self.matches('^http://[^/?#]') || self.matches('^http://([^/?#]*@)?(localhost|127([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}|\\[::1\\])(:[^/?#]*)?([/?#]|$)')`,message="a redirect URI with http must have a loopback host (localhost, 127.0.0.1 or [::1]): use https"
// +kubebuilder:validation:XValidation:rule=`!self.matches('^[^:/?#]*://[^/?#]*@')`,message="a redirect URI must have no user name or password: remove what stands before the @"
// +kubebuilder:validation:XValidation:rule=`!self.contains('#')`,message="a redirect URI must have no fragment: remove what begins with # (RFC 6749 section 3.1.2)"
// +kubebuilder:validation:XValidation:rule=`!self.contains('*')`,message="a redirect URI must have no wildcard: list each URI exactly"
// +kubebuilder:validation:XValidation:rule=`!self.contains(';')`,message="a redirect URI must have no semicolon, which some programs take for the end of a query parameter: percent-encode it (%3B)"
// +kubebuilder:validation:XValidation:rule=`!isURL(self) || !['code', 'state', 'iss', 'error', 'error_description', 'error_uri', 'id_token', 'response', 'access_token', 'token_type', 'expires_in', 'scope'].exists(k, k in url(self).getQuery())`,message="the query of a redirect URI must not have code, state, iss, error, error_description, error_uri, id_token, response, access_token, token_type, expires_in or scope: the authorization response has parameters of these names"
// +kubebuilder:validation:XValidation:rule=`isURL(self) || !self.matches('^([A-Za-z0-9._~:/?#\\[\\]@!$&\'()*+,;=-]|%[0-9A-Fa-f]{2})*$') || !self.matches('^(https?://([^/?#]*@)?(\\[[0-9A-Fa-f:.]*\\]|[^%*:/?#\\[@]+)(:[0-9]+)?([/?#]|$)|[a-z][a-z0-9+-]*([.][a-z0-9+-]+)*:.)')`,message="a redirect URI must be a valid URL: check its host and port"
type RedirectURI = string

// CIDR is a network in CIDR notation (RFC 4632).
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule=`isCIDR(self) && cidr(self).masked() == cidr(self)`,message="a network in trustedProxies is written in CIDR notation with no bits set after the prefix, such as 10.0.0.0/8, 192.0.2.7/32 or 2001:db8::/32"
// +kubebuilder:validation:XValidation:rule=`!isCIDR(self) || cidr(self).prefixLength() > 0`,message="trustedProxies must not trust every address, because then any client could forge the address that a request comes from: name the networks of your proxies"
type CIDR = string
