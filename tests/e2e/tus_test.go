//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// tusScript uploads a file with tus-js-client, or goes on with an upload that another process began, and kills itself once it has sent so
// many bytes more: it may notice late, but then its chunk ends. It prints from where it went on.
const tusScript = `
const tus = require("tus-js-client"), fs = require("fs");
const [file, endpoint, path, after] = process.argv.slice(2);
let from = -1;
const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint, chunkSize: 40e6, uploadSize: fs.statSync(file).size, retryDelays: [0, 200, 500, 1000, 2000],
  urlStorage: new tus.FileUrlStorage("uploads.json"), fingerprint: async () => "the upload",
  metadata: { path },
  onProgress(sent) {
    if (from < 0) { from = sent; console.log(from); }
    if (after > 0 && sent >= from + Number(after)) process.kill(process.pid, "SIGKILL");
  },
  onError(err) { console.error(String(err)); process.exit(1); },
  onSuccess() { console.log("done"); },
});
upload.findPreviousUploads().then((previous) => {
  if (previous.length) upload.resumeFromPreviousUpload(previous[0]);
  upload.start();
});
`

// TestE2ETus has the client that browsers use, tus-js-client, upload a file. It is killed ten times on the way, and the server once.
func TestE2ETus(t *testing.T) {
	cluster.Needs(t, "npm", "node")
	const kills = 10
	s := cluster.StartServer(t)
	work := t.TempDir()
	sh(t, work, `npm install --no-audit --no-fund --loglevel=error tus-js-client@4 >&2`)
	if err := os.WriteFile(filepath.Join(work, "upload.js"), []byte(tusScript), 0o644); err != nil {
		t.Fatal(err)
	}
	file := randomFile(t, filepath.Join(work, "file"), 448<<20) // more than each run sends at most
	last := "0"
	for i := range kills {
		out, _ := exec.Command("sh", "-c", `cd "$1" && exec node upload.js "$2" "$3/-/tus/" /from/tus 10000000`, "sh", work, file, s.HTTP).CombinedOutput() // it is killed
		from, _, _ := strings.Cut(string(out), "\n")
		t.Logf("killed for the %d. time: went on from %s", i+1, from)
		// What had come, and was not told, may have gone with the server.
		if i > 1 && from == last && i != kills/2+1 || strings.Contains(string(out), "done") || from == "" {
			t.Fatalf("it did not go on: %s", out)
		}
		last = from
		if i == kills/2 {
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			s.Start(t)
		}
	}
	if out := sh(t, work, `node upload.js "$1" "$2/-/tus/" /from/tus 0`, file, s.HTTP); !strings.Contains(out, "done") || strings.HasPrefix(out, "0\n") {
		t.Errorf("the last run: %s", out)
	}
	sh(t, work, `curl -fsS "$1/from/tus" | cmp - "$2"`, s.HTTP, file)
}
