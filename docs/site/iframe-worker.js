// Search in the folder as it lies on a disk. Browsers start no worker from a file, so there the search runs in a hidden frame, behind
// the few methods of a worker that the theme calls. On a server nothing is changed.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html>";
      this.started = new Promise((start) => {
        frame.onload = () => {
          const room = frame.contentWindow;
          room.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          const script = room.document.createElement("script");
          script.src = url;
          script.onload = () => start(room);
          room.document.body.append(script);
        };
      });
      document.documentElement.append(frame);
    }
    postMessage(data) {
      this.started.then((room) => room.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
