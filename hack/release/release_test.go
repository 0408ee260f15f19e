package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// programs is a directory with two Go programs: this test, twice.
func programs(t *testing.T) string {
	t.Helper()
	return copies(t, filepath.Join(t.TempDir(), "linux_amd64"), "manager", "tokenserver")
}

// plugins is a directory with the plugin for two platforms.
func plugins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	copies(t, filepath.Join(dir, "linux_amd64"), "kubectl-oauth")
	copies(t, filepath.Join(dir, "windows_arm64"), "kubectl-oauth.exe")
	return dir
}

// copies makes a directory with copies of this test.
func copies(t *testing.T, dir string, names ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAReleaseIsWholeAndTheSameEachTime(t *testing.T) {
	const image = "registry.example.com/platform/oauth-operator:v1.2.3"
	archive := newArchive(t, "index.json", `{"schemaVersion":2,"manifests":[{"digest":"sha256:abc"}]}`)
	made, plugin := programs(t), plugins(t)
	build := func() map[string][]byte {
		dir := filepath.Join(t.TempDir(), "dist")
		if err := run([]string{"-version", "1.2.3", "-image", image, "-archive", archive, "-plugins", plugin, "-output", dir, made}); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{}
		for _, entry := range entries {
			if files[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
		return files
	}
	files, again := build(), build()
	for name, content := range files {
		if !bytes.Equal(content, again[name]) {
			t.Errorf("%s is not the same the second time", name)
		}
		if sum := fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name); name != "SHA256SUMS" && !strings.Contains(string(files["SHA256SUMS"]), sum) {
			t.Errorf("SHA256SUMS has no %s", sum)
		}
	}
	if names := sortedKeys(files); !slices.Equal(names, []string{
		"SHA256SUMS", "install.yaml", "kubectl-oauth-1.2.3-linux-amd64.tar.gz", "kubectl-oauth-1.2.3-windows-arm64.tar.gz",
		"oauth-operator-1.2.3.cdx.json", "oauth-operator-1.2.3.tgz", "oauth-operator-image-1.2.3.digest", "oauth-operator-image-1.2.3.tar", "oauth.yaml",
	}) {
		t.Errorf("the release is %q", names)
	}
	if digest := string(files["oauth-operator-image-1.2.3.digest"]); digest != "sha256:abc\n" {
		t.Errorf("the digest is %q", digest)
	}
	if !strings.Contains(string(files["install.yaml"]), "image: "+image+"\n") || strings.Contains(string(files["install.yaml"]), develRepository) {
		t.Error("install.yaml has another image")
	}
	ref, err := parseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	chart, err := render(release{version: "1.2.3", image: ref}, nil, namespace)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(chart["deployment.yaml"], "image: "+image+"\n") || !strings.Contains(chart["NOTES.txt"], "oauth-operator 1.2.3 is installed") {
		t.Errorf("the chart renders\n%s\n%s", chart["deployment.yaml"], chart["NOTES.txt"])
	}
	checkBillOfMaterials(t, files["oauth-operator-1.2.3.cdx.json"])
	checkPlugins(t, files)
}

// checkPlugins installs the plugin as krew does: by the manifest, which names the archive's
// checksum and the program in it.
func checkPlugins(t *testing.T, files map[string][]byte) {
	t.Helper()
	var manifest struct {
		Kind string
		Spec struct {
			Version   string
			Platforms []struct {
				Selector         struct{ MatchLabels map[string]string }
				URI, SHA256, Bin string
			}
		}
	}
	if err := yaml.Unmarshal(files["oauth.yaml"], &manifest); err != nil || manifest.Spec.Version != "v1.2.3" || len(manifest.Spec.Platforms) != 2 {
		t.Fatalf("%v: %s", err, files["oauth.yaml"])
	}
	for _, p := range manifest.Spec.Platforms {
		address, name := path.Split(p.URI)
		if address != "https://github.com/oauth-operator/oauth-operator/releases/download/v1.2.3/" || fmt.Sprintf("%x", sha256.Sum256(files[name])) != p.SHA256 {
			t.Errorf("the manifest has %+v", p)
		}
		uncompressed, err := gzip.NewReader(bytes.NewReader(files[name]))
		if err != nil {
			t.Fatal(err)
		}
		modes := map[string]int64{}
		for archive := tar.NewReader(uncompressed); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			modes[header.Name] = header.Mode
		}
		if modes[p.Bin] != 0o755 || modes["kubectl_complete-oauth"] != 0o755 || modes["LICENSE"] != 0o644 || len(modes) != 3 {
			t.Errorf("%s has %v", name, modes)
		}
	}
}

func checkBillOfMaterials(t *testing.T, content []byte) {
	t.Helper()
	var bom struct {
		BOMFormat, SerialNumber string
		Components              []struct{ Type, Name, Version, PURL string }
		Dependencies            []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(content, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || !strings.HasPrefix(bom.SerialNumber, "urn:uuid:") {
		t.Errorf("it is a %s with the number %s", bom.BOMFormat, bom.SerialNumber)
	}
	var purls []string
	for _, c := range bom.Components {
		purls = append(purls, c.PURL)
	}
	for _, prefix := range []string{"pkg:golang/std@1.", "pkg:golang/sigs.k8s.io/kustomize/api@v0."} { // which this program is linked with
		if !slices.ContainsFunc(purls, func(purl string) bool { return strings.HasPrefix(purl, prefix) }) {
			t.Errorf("there is no %s in %q", prefix, purls)
		}
	}
	if !slices.ContainsFunc(bom.Components, func(c struct{ Type, Name, Version, PURL string }) bool { return c.Name == "kubectl-oauth" }) {
		t.Error("it lists no kubectl-oauth")
	}
	for _, d := range bom.Dependencies {
		if (d.Ref == "manager" || d.Ref == "kubectl-oauth") && len(d.DependsOn) < 5 {
			t.Errorf("%s depends on %q", d.Ref, d.DependsOn)
		}
	}
}

// newArchive is a tar file with one file.
func newArchive(t *testing.T, name, content string) string {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestABadReleaseIsRefused(t *testing.T) {
	archive := newArchive(t, "index.json", `{"manifests":[{"digest":"sha256:abc"}]}`)
	for says, change := range map[string][2]string{
		`"v1.2.3" is not like 1.2.3`:  {"-version", "v1.2.3"},
		`"1.2" is not like 1.2.3`:     {"-version", "1.2"},
		`has neither a tag nor`:       {"-image", "registry.example.com/oauth-operator"},
		`is no image such as`:         {"-image", "Registry/Oauth operator"},
		`-archive`:                    {"-archive", ""},
		`it is no OCI archive`:        {"-archive", newArchive(t, "manifest.json", "[]")},
		`-plugins: there are no prog`: {"-plugins", t.TempDir()},
		`there are 2 images`:          {"-archive", newArchive(t, "index.json", `{"manifests":[{},{}]}`)},
	} {
		args := map[string]string{"-version": "1.2.3", "-image": "example.com/oauth-operator:1.2.3", "-archive": archive, "-plugins": plugins(t), "-output": t.TempDir()}
		args[change[0]] = change[1]
		var list []string
		for _, name := range sortedKeys(args) {
			list = append(list, name, args[name])
		}
		if err := run(append(list, t.TempDir())); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", change, err)
		}
	}
}

func TestReferencesOfImages(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for text, want := range map[string]reference{
		"localhost/oauth-operator:0.0.0-devel":              {"localhost/oauth-operator", "0.0.0-devel", ""},
		"registry.example.com:5000/a/b:1@" + digest:         {"registry.example.com:5000/a/b", "1", digest},
		"ghcr.io/oauth-operator/oauth-operator@" + digest:   {"ghcr.io/oauth-operator/oauth-operator", "", digest},
		"registry.example.com/platform/oauth-operator:v1.2": {"registry.example.com/platform/oauth-operator", "v1.2", ""},
	} {
		if got, err := parseReference(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "a/b", "a b:1", "a:1:2", "a@sha256:1", "-a:1"} {
		if got, err := parseReference(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}
