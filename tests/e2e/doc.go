// Package e2e holds the tests of whole servers: real processes, a real kernel mount, real S3
// clients (TestE2E…), crashes, losses and damage (TestChaos…). They build with the tag e2e and run by
// tests/run.sh, which installs what they need.
package e2e
