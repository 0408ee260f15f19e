package issuer

import (
	"fmt"
	"os/exec"
	"runtime"
)

// OpenBrowser opens a URL in the user's browser, and does not wait for it.
func OpenBrowser(address string) error {
	var command *exec.Cmd
	switch runtime.GOOS {
	case "darwin":
		command = exec.Command("open", address)
	case "windows":
		command = exec.Command("rundll32", "url.dll,FileProtocolHandler", address) // cmd's start would take & for the next command
	default:
		command = exec.Command("xdg-open", address)
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("opening a browser: %w", err)
	}
	go func() { _ = command.Wait() }() // only to release it
	return nil
}
