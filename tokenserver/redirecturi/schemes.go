package redirecturi

import (
	"slices"
	"strings"
)

// permanentSchemes are the schemes with permanent status in IANA's registry "Uniform Resource
// Identifier (URI) Schemes".
var permanentSchemes = strings.Fields(`
	aaa aaas about acap acct cap cid coap coap+tcp coap+ws coaps coaps+tcp coaps+ws crid data dav dict dns dtn example file ftp geo go
	gopher h323 http https iax icap im imap info ipn ipp ipps iris iris.beep iris.lwz iris.xpc iris.xpcs jabber ldap leaptofrogans mailto
	mid msrp msrps mtqp mupdate news nfs ni nih nntp opaquelocktoken pkcs11 pop pres reload rtsp rtsps rtspu service session shttp sieve
	sip sips sms snmp soap.beep soap.beeps stun stuns tag tel telnet tftp thismessage tip tn3270 turn turns tv urn vemmi vnc ws wss xcon
	xcon-userid xmlrpc.beep xmlrpc.beeps xmpp z39.50r z39.50s`)

// systemSchemes are further schemes that a browser or an operating system handles itself.
var systemSchemes = strings.Fields(`
	afp app-prefs applescript appstore blob brave callto chrome cifs content devtools edge facetime facetime-audio feed filesystem hcp help
	intent irc ircs its jar javascript jnlp jnlps ldaps livescript macappstore macappstores magnet maps market message mhtml mk mms mmsto
	mocha opera prefs res resource search sftp shell smb smsto ssh vbscript view-source wais webcal webcals wyciwyg x-man-page`)

// systemPrefixes are the beginnings of further schemes that a browser or an operating system
// handles.
var systemPrefixes = strings.Fields(`android- chrome- itms microsoft- microsoft. moz- ms- safari- search- x-apple`)

// isPrivateUseScheme reports whether a URI scheme can be an application's own (RFC 8252 section
// 7.1): it is not registered for something else, and neither browsers nor operating systems handle
// it themselves. Letter case does not matter (RFC 3986 section 3.1).
func isPrivateUseScheme(scheme string) bool {
	scheme = strings.ToLower(scheme)
	return scheme != "" && !slices.Contains(permanentSchemes, scheme) && !slices.Contains(systemSchemes, scheme) &&
		!slices.ContainsFunc(systemPrefixes, func(prefix string) bool { return strings.HasPrefix(scheme, prefix) })
}
